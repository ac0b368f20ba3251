//! In a terminal: bars, of its width, that an interrupt ends with nothing half done; elsewhere plain lines.

use anyhow::Result;
use multiarch_e2e::{
    images::Image,
    proxy::{Answer, Operation, Rule, open_uploads},
    registry::Storage,
};

use crate::{
    stage::{Stage, outcomes},
    terminal_pty::Terminal,
};

const IMAGES: [&str; 2] = ["team/large:1", "team/small:1"];
/// SGR of a colour or of none; the sequences that move the cursor end with other letters.
const COLOUR: &str = "\u{1b}[";

/// Two images at the source, one of them large. The first that is read of its layer ends in silence after a MiB, so that a copy of it is
/// under way for as long as a test wants.
async fn stage() -> Result<(Stage, Image)> {
    let stage = Stage::with(Storage::Files).await?;
    let large = Image::large("linux/amd64", 8 << 20)?;
    stage.source.push(IMAGES[0], &large).await?;
    stage.source.push(IMAGES[1], &Image::oci("linux/amd64", "small")?).await?;
    let silence = Rule::of(Operation::GetBlob, Answer::StallAfter(1 << 20));
    stage.source.proxy.follow(silence.path("team/large").first(1));
    Ok((stage, large))
}

fn mirror(stage: &Stage) -> Vec<String> {
    let (from, to) = (stage.source.host(), stage.target.host());
    ["mirror", "--from", from, "--to", to].iter().chain(&IMAGES).map(ToString::to_string).collect()
}

fn words(arguments: &[String]) -> Vec<&str> {
    arguments.iter().map(String::as_str).collect()
}

/// Fails unless the last rows are the bar of all images and that of the large one, each of them on a row of its own.
fn is_drawn(terminal: &Terminal) {
    let rows = terminal.rows();
    let [.., all, large] = &rows[..] else { panic!("no bars: {rows:#?}") };
    assert!(all.starts_with("1/2 "), "{rows:#?}");
    assert!(large.starts_with("  ") && large.contains("large:1"), "{rows:#?}");
    let drawn = rows.iter().filter(|row| row.contains("large:1")).count();
    assert!(drawn <= 2, "it was drawn again and again: {rows:#?}");
}

fn has_bar(shown: &str) -> bool {
    shown.contains("MiB") && shown.contains(['█', '#', '░']) && shown.contains("1/2 0")
}

#[tokio::test(flavor = "multi_thread")]
async fn bars_fit_the_terminal_and_an_interrupt_leaves_nothing_half_done() -> Result<()> {
    let (stage, large) = stage().await?;
    let arguments = mirror(&stage);
    let mut terminal = Terminal::start(&stage.cli, 100, &[], &words(&arguments))?;
    terminal.until("bars", 0, has_bar).await?;
    is_drawn(&terminal);

    terminal.resize(40)?;
    // What was drawn before it knew comes first.
    let before = terminal.written();
    terminal.until("it draws on", before, |shown| shown.matches(" large:1").count() > 9).await?;
    is_drawn(&terminal);

    terminal.types(b"\x03").await?;
    let status = terminal.ended().await?;
    assert_eq!(status.code(), Some(130), "{}", terminal.shown());
    assert_eq!(stage.target.digest(IMAGES[0]).await?, None);
    assert_eq!(stage.target.open_uploads("team/large"), 0);
    assert_eq!(open_uploads(&stage.target.proxy.seen()), 0);

    let ran = stage.cli.run(&[&words(&arguments)[..], &["-o", "json"]].concat()).await?.ended(0)?;
    assert_eq!(outcomes(&ran)?, ["Published", "Unchanged"]);
    assert_eq!(stage.target.digest(IMAGES[0]).await?, Some(large.digest()));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn colours_are_left_out_where_nobody_wants_them() -> Result<()> {
    for (variables, wanted) in [(&[][..], true), (&[("NO_COLOR", "1")][..], false)] {
        let (stage, _) = stage().await?;
        let mut terminal = Terminal::start(&stage.cli, 100, variables, &words(&mirror(&stage)))?;
        terminal.until("bars", 0, has_bar).await?;
        terminal.types(b"\x03").await?;
        terminal.ended().await?;
        assert_eq!(has_colour(&terminal.shown()), wanted, "{:?}", terminal.shown());
    }
    Ok(())
}

/// Whether there is a sequence that ends with `m` and begins with a number other than 0.
fn has_colour(shown: &str) -> bool {
    shown.split(COLOUR).skip(1).any(|sequence| {
        let end = sequence.find(|letter: char| letter.is_ascii_alphabetic()).unwrap_or(0);
        sequence[end..].starts_with('m') && !matches!(&sequence[..end], "" | "0")
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn elsewhere_there_are_plain_lines() -> Result<()> {
    let (stage, _) = stage().await?;
    stage.source.proxy.be_honest();
    let ran = stage.cli.run(&words(&mirror(&stage))).await?.ended(0)?;
    assert!(!ran.stderr.contains(['\u{1b}', '\r']), "{:?}", ran.stderr);
    assert!(!ran.stdout.contains(['\u{1b}', '\r']), "{:?}", ran.stdout);
    for done in ["1/2 ", "2/2 "] {
        let told = ran.stderr.lines().filter(|line| line.starts_with(done));
        assert_eq!(told.count(), 1, "{}", ran.stderr);
    }
    for image in IMAGES {
        assert!(ran.stdout.contains(image), "{}", ran.stdout);
    }
    Ok(())
}
