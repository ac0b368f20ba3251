//! What a program's own header says: for which architecture it is, and that it needs nothing else to run.

use anyhow::{Context, Result, bail, ensure};
use object::{
    Endianness, FileKind,
    elf::{
        DT_NEEDED, EM_386, EM_AARCH64, EM_ARM, EM_PPC64, EM_RISCV, EM_S390, EM_X86_64,
        FileHeader32, FileHeader64, PT_INTERP,
    },
    read::elf::{Dyn as _, FileHeader, ProgramHeader as _},
};

use crate::platform::Platform;

/// The line that glibc has in every program that it is linked into.
const GLIBC: &str = "GNU C Library (";

/// A program that runs on an empty root.
#[derive(Debug, PartialEq, Eq)]
pub struct Program {
    /// OCI's name of its architecture.
    pub architecture: &'static str,
    /// The C library in it: its version, and who packaged it.
    pub glibc: Option<Glibc>,
}

/// The C library of a program.
#[derive(Debug, PartialEq, Eq)]
pub struct Glibc {
    /// Its version, such as `2.36`.
    pub version: String,
    /// Who packaged it, such as `Debian GLIBC 2.36-9+deb12u14`.
    pub packaged: String,
}

/// Reads a program; an error where it is none, or is not static.
pub fn read(bytes: &[u8]) -> Result<Program> {
    let architecture = match FileKind::parse(bytes).context("it is no program")? {
        FileKind::Elf32 => inspect::<FileHeader32<Endianness>>(bytes)?,
        FileKind::Elf64 => inspect::<FileHeader64<Endianness>>(bytes)?,
        other => bail!("it is no program of Linux (ELF), but {other:?}"),
    };
    Ok(Program { architecture, glibc: glibc(bytes) })
}

/// Reads a program that is to be for `platform`.
pub fn read_for(bytes: &[u8], platform: &Platform) -> Result<Program> {
    let program = read(bytes)?;
    ensure!(
        program.architecture == platform.architecture,
        "the program is for {}, and the image is to be for {} ({})",
        program.architecture,
        platform.architecture,
        platform.target
    );
    Ok(program)
}

fn inspect<Header: FileHeader<Endian = Endianness>>(bytes: &[u8]) -> Result<&'static str> {
    let header = Header::parse(bytes).context("its header is cut off")?;
    let endian = header.endian().context("its header says no byte order")?;
    for segment in header.program_headers(endian, bytes).context("its segments are cut off")? {
        ensure!(
            segment.p_type(endian) != PT_INTERP,
            "it is not static: it asks for a dynamic loader, which the image does not have"
        );
        let dynamic = segment.dynamic(endian, bytes).context("its dynamic section is cut off")?;
        let needs = dynamic.unwrap_or_default().iter().any(|entry| entry.tag(endian) == DT_NEEDED);
        ensure!(!needs, "it is not static: it needs libraries, which the image does not have");
    }
    let little = endian == Endianness::Little;
    match (header.e_machine(endian), header.is_type_64(), little) {
        (EM_X86_64, true, true) => Ok("amd64"),
        (EM_386, false, true) => Ok("386"),
        (EM_AARCH64, true, true) => Ok("arm64"),
        (EM_ARM, false, true) => Ok("arm"),
        (EM_PPC64, true, true) => Ok("ppc64le"),
        (EM_RISCV, true, true) => Ok("riscv64"),
        (EM_S390, true, false) => Ok("s390x"),
        (machine, wide, _) => {
            let bits = if wide { 64 } else { 32 };
            bail!("it is for an unknown machine (ELF {bits}, {machine:?}, {endian:?} endian)")
        }
    }
}

/// From the line `GNU C Library (Debian GLIBC 2.36-9) stable release version 2.36.`
fn glibc(bytes: &[u8]) -> Option<Glibc> {
    let at = bytes.windows(GLIBC.len()).position(|window| window == GLIBC.as_bytes())?;
    let line = bytes.get(at + GLIBC.len()..)?.split(|byte| matches!(byte, b'\n' | 0)).next()?;
    let (packaged, rest) = str::from_utf8(line).ok()?.split_once(") ")?;
    let (_, version) = rest.rsplit_once("version ")?;
    let version = version.trim_end_matches('.').to_owned();
    Some(Glibc { version, packaged: packaged.to_owned() })
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    /// A header of a program with one segment of type `segment`, as the ELF specification lays them out.
    fn elf(machine: u16, wide: bool, little: bool, segment: u32) -> Vec<u8> {
        let mut bytes = vec![0x7f, b'E', b'L', b'F', 1 + u8::from(wide), 2 - u8::from(little), 1];
        bytes.resize(16, 0);
        let number = |bytes: &mut Vec<u8>, value: u64, size: usize| {
            let all = value.to_le_bytes();
            let mut field = all[..size].to_vec();
            if !little {
                field.reverse();
            }
            bytes.extend(field);
        };
        let word = if wide { 8 } else { 4 };
        let (header, entry) = if wide { (64, 56) } else { (52, 32) };
        number(&mut bytes, 2, 2);
        number(&mut bytes, machine.into(), 2);
        number(&mut bytes, 1, 4);
        for field in [0, header, 0] {
            number(&mut bytes, field, word);
        }
        number(&mut bytes, 0, 4);
        for field in [header, entry, 1, 0, 0, 0] {
            number(&mut bytes, field, 2);
        }
        number(&mut bytes, segment.into(), 4);
        let whole = usize::try_from(header + entry).unwrap();
        bytes.resize(whole, 0);
        bytes
    }

    #[rstest]
    #[case::amd64(EM_X86_64, true, true, "amd64")]
    #[case::i386(EM_386, false, true, "386")]
    #[case::arm64(EM_AARCH64, true, true, "arm64")]
    #[case::arm(EM_ARM, false, true, "arm")]
    #[case::ppc64le(EM_PPC64, true, true, "ppc64le")]
    #[case::riscv64(EM_RISCV, true, true, "riscv64")]
    #[case::s390x(EM_S390, true, false, "s390x")]
    fn the_architecture_is_the_headers(
        #[case] machine: u16,
        #[case] wide: bool,
        #[case] little: bool,
        #[case] architecture: &str,
    ) {
        let program = read(&elf(machine, wide, little, 1)).unwrap();
        assert_eq!((program.architecture, program.glibc), (architecture, None));
    }

    #[rstest]
    #[case::dynamic(elf(EM_X86_64, true, true, PT_INTERP), "it asks for a dynamic loader")]
    #[case::big_endian(elf(EM_PPC64, true, false, 1), "unknown machine")]
    #[case::x32(elf(EM_X86_64, false, true, 1), "unknown machine")]
    #[case::cut(elf(EM_X86_64, true, true, 1)[..70].to_vec(), "its segments are cut off")]
    #[case::script(b"#!/bin/sh\nexec multiarch-operator\n".to_vec(), "it is no program")]
    #[case::empty(vec![], "it is no program")]
    fn what_does_not_run_on_an_empty_root_is_refused(#[case] bytes: Vec<u8>, #[case] why: &str) {
        let error = format!("{:#}", read(&bytes).unwrap_err());
        assert!(error.contains(why), "{error}");
    }

    #[test]
    fn a_program_for_another_platform_is_refused() {
        let arm64 = elf(EM_AARCH64, true, true, 1);
        let of = |target| Platform::of(target).unwrap();
        assert!(read_for(&arm64, &of("aarch64-unknown-linux-gnu")).is_ok());
        let error = read_for(&arm64, &of("x86_64-unknown-linux-gnu")).unwrap_err().to_string();
        assert!(error.contains("is for arm64") && error.contains("for amd64"), "{error}");
        assert!(Platform::of("wasm32-wasip1").unwrap_err().to_string().contains("riscv64gc"));
    }

    #[test]
    fn the_c_library_is_found_by_its_banner() {
        let mut bytes = elf(EM_X86_64, true, true, 1);
        bytes.extend(b"\0GNU C Library (Debian GLIBC 2.36-9+deb12u14) stable release version 2.36.\nCopyright");
        let glibc = read(&bytes).unwrap().glibc.unwrap();
        assert_eq!((&*glibc.version, &*glibc.packaged), ("2.36", "Debian GLIBC 2.36-9+deb12u14"));
    }
}
