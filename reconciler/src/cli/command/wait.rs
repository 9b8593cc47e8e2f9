//! `banger wait --for=condition=Ready vm/NAME`.

use std::str::FromStr;
use std::time::Duration;

use banger_core::api::status::{ConditionStatus, ConditionType};
use clap::Args;

use crate::cli::context::Context;
use crate::cli::object_ref::references;
use crate::cli::output::print;
use crate::cli::settle::Goal;
use crate::cli::waiting::{duration, wait_for};
use crate::cli::{Exit, Failure};

/// `banger wait --for=condition=Ready vm/NAME`.
#[derive(Debug, Args)]
pub(in crate::cli) struct Wait {
    /// `condition=TYPE[=STATUS]` or `delete`
    #[arg(long = "for", value_name = "WHAT")]
    what: What,
    /// How long: `30s`, `5m`, `1h`
    #[arg(long, default_value = "30s", value_parser = duration)]
    timeout: Duration,
    /// `vm/NAME…`, or `vm NAME…`
    #[arg(required = true, value_name = "OBJECT")]
    objects: Vec<String>,
}

#[derive(Clone, Debug)]
enum What {
    Delete,
    Condition(ConditionType, ConditionStatus),
}

impl FromStr for What {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let form = "write `delete`, `condition=Ready` or `condition=Ready=False`";
        if text == "delete" {
            return Ok(Self::Delete);
        }
        let condition = text.strip_prefix("condition=").ok_or(form)?;
        let (kind, status) = condition.split_once('=').unwrap_or((condition, "True"));
        let word = |word: &str| serde_json::Value::String(word.to_owned());
        let kind = serde_json::from_value(word(kind))
            .map_err(|_| format!("there is no condition `{kind}`; {form}"))?;
        let status = serde_json::from_value(word(status))
            .map_err(|_| format!("`{status}` is not True, False or Unknown"))?;
        Ok(Self::Condition(kind, status))
    }
}

impl Wait {
    pub(in crate::cli) fn run(self, context: &Context) -> Result<Exit, Failure> {
        let objects = references(&self.objects).map_err(Failure::invalid)?;
        let goal = match &self.what {
            What::Delete => Goal::Gone(None),
            What::Condition(kind, status) => Goal::Condition(*kind, *status),
        };
        let goals = objects.iter().map(|object| (object.clone(), goal.clone()));
        wait_for(context, goals.collect(), self.timeout)?;
        for object in &objects {
            match self.what {
                What::Delete => print(format_args!("{object} is gone"))?,
                What::Condition(..) => print(format_args!("{object} condition met"))?,
            }
        }
        Ok(Exit::Ok)
    }
}
