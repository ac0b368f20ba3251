//! A block of a tar archive that tells of an entry, and the records that tell more of it.
//!
//! Not the tar crate's: it reads long names into memory whatever their size, splits the records of pax at newlines that
//! may be part of a value, and takes sizes that do not fit.

/// How an archive is divided, in bytes.
pub(super) const BLOCK: usize = 512;

/// What a header says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) kind: u8,
    pub(super) name: Vec<u8>,
    pub(super) link: Vec<u8>,
    pub(super) size: u64,
}

/// What records of pax say of the next entry.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Records {
    pub(super) path: Option<Vec<u8>>,
    pub(super) link: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    /// The entry's data has holes.
    pub(super) sparse: bool,
}

impl Header {
    /// From its block, `None` where that is all zeros, which ends an archive.
    pub(super) fn read(block: &[u8; BLOCK]) -> Result<Option<Self>, &'static str> {
        if block.iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        if !has_sum(block) {
            return Err("what should be an entry of a tar archive is none");
        }
        let mut name = text(&block[..100]).to_vec();
        let prefix = text(&block[345..500]);
        // GNU's own format has times where ustar has the path's beginning.
        if &block[257..263] == b"ustar\0" && !prefix.is_empty() {
            name = [prefix, &name].join(&b'/');
        }
        let size = number(&block[124..136]).ok_or("the size of an entry is no number")?;
        Ok(Some(Self { kind: block[156], name, link: text(&block[157..257]).to_vec(), size }))
    }
}

impl Records {
    /// From the content of a pax entry.
    pub(super) fn read(mut bytes: &[u8]) -> Result<Self, &'static str> {
        const MALFORMED: &str = "the pax records of an entry are malformed";
        let mut records = Self::default();
        while !bytes.is_empty() {
            let (key, value, rest) = record(bytes).ok_or(MALFORMED)?;
            match key {
                b"path" => records.path = Some(value.to_vec()),
                b"linkpath" => records.link = Some(value.to_vec()),
                b"size" => records.size = Some(decimal(value).ok_or(MALFORMED)?),
                key if key.starts_with(b"GNU.sparse.") || key == b"SCHILY.realsize" => {
                    records.sparse = true;
                }
                _ => {}
            }
            bytes = rest;
        }
        Ok(records)
    }
}

/// The first record: key, value, and what follows. `LENGTH KEY=VALUE\n`, where the length is of all of it.
fn record(bytes: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let space = bytes.iter().take(20).position(|byte| *byte == b' ')?;
    let length = usize::try_from(decimal(&bytes[..space])?).ok()?;
    if length > bytes.len() {
        return None;
    }
    let (record, rest) = bytes.split_at(length);
    let record = record.get(space + 1..)?.strip_suffix(b"\n")?;
    let equals = record.iter().position(|byte| *byte == b'=')?;
    Some((&record[..equals], &record[equals + 1..], rest))
}

/// Whether a block has the sum that it says, with the sum itself as spaces. Old programs summed signed bytes.
pub(super) fn has_sum(block: &[u8; BLOCK]) -> bool {
    let bytes = block.iter().enumerate();
    let bytes = bytes.map(|(at, byte)| if (148..156).contains(&at) { b' ' } else { *byte });
    let (mut unsigned, mut signed) = (0_i64, 0_i64);
    for byte in bytes {
        unsigned += i64::from(byte);
        signed += i64::from(byte.cast_signed());
    }
    let said = number(&block[148..156]).and_then(|said| i64::try_from(said).ok());
    said.is_some_and(|said| said == unsigned || said == signed)
}

/// The bytes before the first null.
fn text(field: &[u8]) -> &[u8] {
    let end = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
    &field[..end]
}

/// A number in octal digits, or in base 256 where the first bit is set; of no more than 63 bits.
fn number(field: &[u8]) -> Option<u64> {
    if field[0] & 0x80 != 0 {
        // 0xff begins a negative one.
        let digits = std::iter::once(field[0] & 0x7f).chain(field[1..].iter().copied());
        let number = digits.clone().try_fold(0_u64, |number, digit| {
            (number >> 55 == 0).then_some(number << 8 | u64::from(digit))
        });
        return number.filter(|_| field[0] != 0xff);
    }
    let trimmed = text(field).trim_ascii();
    trimmed.iter().try_fold(0_u64, |number, digit| {
        let digit = matches!(digit, b'0'..=b'7').then(|| u64::from(digit - b'0'))?;
        Some(number << 3 | digit)
    })
}

fn decimal(text: &[u8]) -> Option<u64> {
    let digits = !text.is_empty() && text.len() <= 19 && text.iter().all(u8::is_ascii_digit);
    let number = digits.then(|| std::str::from_utf8(text).ok()?.parse().ok())??;
    i64::try_from(number).is_ok().then_some(number)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(b"00000000017\0", Some(15))]
    #[case(b"     17 \0   ", Some(15))]
    #[case(b"\0\0\0\0\0\0\0\0\0\0\0\0", Some(0))]
    #[case(b"77777777777\0", Some(0o777_7777_7777))]
    #[case(b"777777777777", Some(0o7777_7777_7777))]
    #[case::eight(b"00000000018\0", None)]
    #[case::letter(b"0000000001x\0", None)]
    #[case::minus(b"-0000000001\0", None)]
    #[case::base_256(b"\x80\0\0\0\0\0\0\x03\0\0\0\0", Some(3 << 32))]
    #[case::negative(b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", None)]
    #[case::past_63_bits(b"\x80\0\0\0\x80\0\0\0\0\0\0\0", None)]
    #[case::past_64_bits(b"\x80\x01\0\0\0\0\0\0\0\0\0\0", None)]
    fn numbers(#[case] field: &[u8], #[case] expected: Option<u64>) {
        assert_eq!(number(field), expected);
    }

    #[rstest]
    #[case::path(b"14 path=a\nb=c\n", Some("a\nb=c"), None, false)]
    #[case::size(b"11 size=12\n", None, Some(12), false)]
    #[case::others(b"13 mtime=1.5\n10 path=a\n", Some("a"), None, false)]
    #[case::last(b"10 path=a\n10 path=b\n", Some("b"), None, false)]
    #[case::binary(b"21 SCHILY.xattr.x=\xff\n\n5 a=\n10 path=a\n", Some("a"), None, false)]
    #[case::sparse(b"22 GNU.sparse.major=1\n", None, None, true)]
    #[case::star(b"22 SCHILY.realsize=10\n", None, None, true)]
    fn records(
        #[case] bytes: &[u8],
        #[case] path: Option<&str>,
        #[case] size: Option<u64>,
        #[case] sparse: bool,
    ) {
        let path = path.map(|path| path.as_bytes().to_vec());
        assert_eq!(Records::read(bytes), Ok(Records { path, link: None, size, sparse }));
    }

    #[rstest]
    #[case::too_long(b"99 path=a\n")]
    #[case::too_short(b"8 path=a\n")]
    #[case::zero(b"0 path=a\n")]
    #[case::no_length(b"path=a\n")]
    #[case::no_value(b"8 path\n\n")]
    #[case::size(b"11 size=-1\n")]
    #[case::huge(b"28 size=9223372036854775808\n")]
    fn no_records(#[case] bytes: &[u8]) {
        Records::read(bytes).unwrap_err();
    }

    #[test]
    fn a_sum_of_signed_bytes() {
        let mut block = [0; BLOCK];
        block[0] = 0xe9;
        block[148..156].copy_from_slice(b"        ");
        let sum = 8 * i64::from(b' ') + i64::from(0xe9_u8.cast_signed());
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        assert!(has_sum(&block));
        block[1] = 1;
        assert!(!has_sum(&block));
    }
}
