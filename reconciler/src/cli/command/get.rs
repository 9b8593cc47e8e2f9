//! `banger get vms|images [NAME]`.

use banger_core::api::Kind;
use banger_core::api::status::Object;
use banger_core::problem::Problem;
use clap::{Args, ValueEnum};
use jiff::Timestamp;

use crate::cli::context::Context;
use crate::cli::object_ref::{KindArg, ObjectRef};
use crate::cli::output::{note, note_raw, print, print_raw};
use crate::cli::{Exit, Failure, problem, table};
use crate::client::call::Listing;

mod columns;
mod document;

/// `banger get vms|images [NAME]`.
#[derive(Debug, Args)]
pub(in crate::cli) struct Get {
    /// `vms` or `images`, or one object as `vm/NAME`
    #[arg(value_name = "KIND[/NAME]")]
    kind: String,
    /// Only this one
    name: Option<String>,
    /// How it is printed
    #[arg(short, long, value_enum)]
    output: Option<Format>,
    /// Go on with what changes
    #[arg(short, long)]
    watch: bool,
}

/// How objects are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum Format {
    /// A table with more columns
    Wide,
    /// YAML
    Yaml,
    /// JSON
    Json,
    /// `vm/NAME`, one a line
    Name,
}

impl Get {
    /// `get vms`.
    pub(super) fn vms(output: Option<Format>, watch: bool) -> Self {
        Self {
            kind: Kind::VirtualMachine.short().to_owned(),
            name: None,
            output,
            watch,
        }
    }

    pub(in crate::cli) fn run(self, context: &Context) -> Result<Exit, Failure> {
        let (kind, name) = self.selected()?;
        let mut printer = Printer {
            kind,
            format: self.output,
            single: name.is_some(),
            widths: Vec::new(),
        };
        if !self.watch {
            let listing = context.daemon.list(kind, name.as_ref())?;
            printer.first(&listing)?;
            return Ok(Exit::Ok);
        }
        let mut watch = context.daemon.watch(kind, name.as_ref())?;
        let mut before = watch.next(None)?;
        printer.first(&before)?;
        loop {
            let now = watch.next(None)?;
            printer.changes(&before, &now)?;
            before = now;
        }
    }

    fn selected(&self) -> Result<(Kind, Option<banger_core::api::Name>), Failure> {
        let invalid = |why: String| Failure::invalid(format!("`{}`: {why}", self.kind));
        match (&self.name, self.kind.contains('/')) {
            (None, true) => {
                let object: ObjectRef = self.kind.parse().map_err(invalid)?;
                Ok((object.kind, Some(object.name)))
            }
            (Some(_), true) => Err(invalid("give a name once".to_owned())),
            (name, false) => {
                let KindArg(kind) = self.kind.parse().map_err(invalid)?;
                let name = name.as_deref().map(str::parse).transpose();
                Ok((
                    kind,
                    name.map_err(|bad| Failure::invalid(format!("{bad}")))?,
                ))
            }
        }
    }
}

struct Printer {
    kind: Kind,
    format: Option<Format>,
    single: bool,
    widths: Vec<u16>,
}

impl Printer {
    fn first(&mut self, listing: &Listing) -> Result<(), Failure> {
        match self.format {
            None | Some(Format::Wide) if listing.objects.is_empty() => {
                note(format_args!("No {}s found.", self.kind.short()));
            }
            None | Some(Format::Wide) => self.rows(&listing.objects, true)?,
            Some(Format::Name) => names(&listing.objects)?,
            Some(Format::Yaml) => {
                print_raw(&document::yaml(&listing.objects, self.single)?)?;
            }
            Some(Format::Json) => {
                print_raw(&document::json(&listing.objects, self.single)?)?;
            }
        }
        rejected(&listing.problems);
        Ok(())
    }

    fn changes(&mut self, before: &Listing, now: &Listing) -> Result<(), Failure> {
        let changed: Vec<Object> = now
            .objects
            .iter()
            .filter(|object| !before.objects.contains(object))
            .cloned()
            .collect();
        for object in &before.objects {
            if !now
                .objects
                .iter()
                .any(|it| it.metadata.uid == object.metadata.uid)
            {
                note(format_args!("{} deleted", ObjectRef::of(object)));
            }
        }
        match self.format {
            _ if changed.is_empty() => {}
            None | Some(Format::Wide) => {
                let headed = self.widths.is_empty();
                self.rows(&changed, headed)?;
            }
            Some(Format::Name) => names(&changed)?,
            Some(Format::Yaml) => {
                for object in changed {
                    print("---")?;
                    print_raw(&document::yaml(&[object], true)?)?;
                }
            }
            Some(Format::Json) => {
                for object in changed {
                    print_raw(&document::json(&[object], true)?)?;
                }
            }
        }
        if before.problems != now.problems {
            rejected(&now.problems);
        }
        Ok(())
    }

    fn rows(&mut self, objects: &[Object], headed: bool) -> Result<(), Failure> {
        let wide = self.format == Some(Format::Wide);
        let columns = columns::of(self.kind, wide);
        let now = Timestamp::now();
        let rows: Vec<Vec<String>> = objects
            .iter()
            .map(|object| {
                columns
                    .iter()
                    .map(|column| (column.cell)(object, now))
                    .collect()
            })
            .collect();
        let headings: Vec<&str> = columns.iter().map(|column| column.heading).collect();
        let (text, widths) = table::table(headed.then_some(&headings), &rows, &self.widths);
        self.widths = widths;
        print_raw(&text)
    }
}

fn names(objects: &[Object]) -> Result<(), Failure> {
    objects
        .iter()
        .try_for_each(|object| print(ObjectRef::of(object)))
}

fn rejected(problems: &[Problem]) {
    if !problems.is_empty() {
        note(format_args!("\nNot accepted:"));
        note_raw(&problem::render_all(problems));
    }
}
