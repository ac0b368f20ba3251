//! How far a command is, on standard error: bars on a terminal, a line for each image elsewhere.

use std::{
    fmt::Display,
    io::{IsTerminal, Write},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use console::Term;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use multiarch_operator::reconcile::Stage;
use tokio::task::JoinHandle;

use super::results::ImageResult;
use crate::Common;

/// How often a bar is drawn anew.
const FRAME: Duration = Duration::from_millis(100);

/// What is shown of a command's images.
#[derive(Debug)]
pub(crate) struct Progress {
    all: usize,
    done: AtomicUsize,
    shown: Shown,
    colours: bool,
}

/// How.
#[derive(Debug)]
enum Shown {
    Bars { bars: MultiProgress, all: ProgressBar },
    Lines,
    Nothing,
}

/// A bar, while its image is worked on.
#[derive(Debug)]
pub(crate) struct Bar {
    bar: ProgressBar,
    task: JoinHandle<()>,
}

impl Progress {
    /// Of `all` images.
    pub(super) fn new(all: usize, common: &Common) -> Self {
        let variable = |name: &str| std::env::var(name).unwrap_or_default();
        let is_dumb = matches!(variable("TERM").as_str(), "" | "dumb");
        let colours = variable("NO_COLOR").is_empty();
        let shown = if common.quiet {
            Shown::Nothing
        } else if std::io::stderr().is_terminal() && !is_dumb && common.verbose == 0 {
            let bars = MultiProgress::new();
            let overall = ProgressBar::new(all as u64)
                .with_style(style("{pos}/{len} {elapsed_precise} {wide_bar}", colours));
            let overall = bars.add(overall);
            // It is drawn anew by itself, too: the terminal may have another width by now.
            overall.enable_steady_tick(FRAME);
            Shown::Bars { bars, all: overall }
        } else {
            Shown::Lines
        };
        Self { all, done: AtomicUsize::new(0), shown, colours }
    }

    /// `target` is worked on from now on, until the bar is dropped.
    pub(crate) fn begin(&self, target: &dyn Display, stage: &Arc<Stage>) -> Option<Bar> {
        match &self.shown {
            Shown::Bars { bars, .. } => {
                let bar = ProgressBar::no_length()
                    .with_style(style(Shape::Words.template(), self.colours))
                    .with_prefix(target.to_string());
                let bar = bars.add(bar);
                Some(Bar::draw(bar, Arc::clone(stage), self.colours))
            }
            Shown::Lines => {
                self.say(&format!("{target}: begun"));
                None
            }
            Shown::Nothing => None,
        }
    }

    /// One image is done with.
    pub(super) fn ended(&self, result: &ImageResult) {
        let done = self.done.fetch_add(1, Ordering::Relaxed) + 1;
        let name = if result.target.is_empty() { &result.name } else { &result.target };
        let sent = result.sent.words();
        let sent = if sent.is_empty() { sent } else { format!(" ({sent})") };
        self.say(&format!("{done}/{} {name}: {}{sent}", self.all, result.outcome.words()));
        if let Shown::Bars { all, .. } = &self.shown {
            all.set_position(done as u64);
        }
    }

    /// A line.
    pub(crate) fn say(&self, line: &str) {
        match &self.shown {
            Shown::Bars { bars, .. } => drop(bars.println(line)),
            // Where nobody listens any more, nobody is to be told.
            Shown::Lines => drop(writeln!(std::io::stderr(), "{line}")),
            Shown::Nothing => {}
        }
    }

    /// Takes the bars away, so that results begin on a line of their own.
    pub(super) fn end(&self) {
        if let Shown::Bars { bars, all } = &self.shown {
            all.finish_and_clear();
            let _ = bars.clear();
        }
    }
}

/// What a bar has, so that it fits its row.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Shape {
    /// No amounts, as long as there are none.
    Words,
    /// All of it.
    Wide,
    /// Amounts, and as much of the rest as there is room for.
    Narrow,
}

impl Shape {
    /// The room that all takes beside the name: amounts and a rate at their longest, and the bar.
    const ROOM: usize = 64;

    /// What fits the terminal as it is now.
    fn of(copies: bool, name: usize) -> Self {
        let (_, columns) = Term::stderr().size();
        match copies {
            false => Self::Words,
            true if usize::from(columns) >= Self::ROOM + name => Self::Wide,
            true => Self::Narrow,
        }
    }

    fn template(self) -> &'static str {
        match self {
            Self::Words => "  {spinner} {wide_msg}",
            Self::Wide => {
                "  {spinner} {prefix} {bar:20} {bytes}/{total_bytes} {binary_bytes_per_sec} {wide_msg}"
            }
            Self::Narrow => "  {spinner} {bytes}/{total_bytes} {wide_msg}",
        }
    }
}

impl Bar {
    fn draw(bar: ProgressBar, stage: Arc<Stage>, colours: bool) -> Self {
        let name = bar.prefix();
        let drawn = bar.clone();
        let task = tokio::spawn(async move {
            let mut shape = None;
            loop {
                let amounts = stage.amounts();
                let now = Shape::of(amounts.size > 0, name.chars().count());
                if shape != Some(now) {
                    drawn.set_style(style(now.template(), colours));
                    if shape.is_none_or(|before| before == Shape::Words) {
                        drawn.reset_eta();
                    }
                    shape = Some(now);
                }
                if now != Shape::Words {
                    let spared = amounts.present.bytes + amounts.mounted.bytes;
                    drawn.set_length(amounts.size);
                    drawn.set_position((amounts.sent + spared).min(amounts.size));
                }
                drawn.set_message(match now {
                    Shape::Wide => stage.now(),
                    Shape::Words => format!("{name} {}", stage.now()),
                    // Its end tells it from the others.
                    Shape::Narrow => name.rsplit('/').next().unwrap_or_default().to_owned(),
                });
                drawn.tick();
                tokio::time::sleep(FRAME).await;
            }
        });
        Self { bar, task }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.task.abort();
        self.bar.finish_and_clear();
    }
}

/// `template`, in colours or not.
fn style(template: &str, colours: bool) -> ProgressStyle {
    let template = if colours {
        template
            .replace("{bar:20}", "{bar:20.cyan/blue}")
            .replace("{wide_bar}", "{wide_bar:.green}")
    } else {
        template.to_owned()
    };
    ProgressStyle::with_template(&template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
