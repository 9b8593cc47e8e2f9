//! The reference of the fields, as Markdown, from the schema.

use std::fmt::Write as _;

use serde_json::{Map, Value};

use super::documents;

/// `docs/spec-reference.md`.
pub fn reference() -> String {
    let mut out = String::from(
        "# Reference of specs and configuration\n\n\
         Made from the schema in `schema/`; a test keeps it up to date. Every other field is \
         refused. `[]` stands for the items of a list, `*` for names of one's own choice.\n\n\
         For completion and checks in an editor, by yaml-language-server, write the schema \
         beside your documents: `banger schema all > ~/.config/banger/schema.json`. The first \
         line of a document in `vms` or `images` is then \
         `# yaml-language-server: $schema=../schema.json`.\n",
    );
    for (title, schema) in [
        ("kind: VirtualMachine", documents::virtual_machine()),
        ("kind: Image", documents::image()),
        ("config.toml", documents::config()),
    ] {
        let _ = write!(out, "\n## `{title}`\n\n");
        if let Some(text) = schema["description"].as_str() {
            let _ = write!(out, "{}\n\n", one_line(text));
        }
        out.push_str("| field | type | |\n| --- | --- | --- |\n");
        Table { schema: &schema }.rows(&schema, "", &mut out);
    }
    out
}

struct Table<'a> {
    schema: &'a Value,
}

impl<'a> Table<'a> {
    fn rows(&self, object: &'a Value, prefix: &str, out: &mut String) {
        let empty = Map::new();
        let properties = object["properties"].as_object().unwrap_or(&empty);
        let required: Vec<&str> = object["required"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        for (name, property) in properties {
            let field = if prefix.is_empty() {
                name.clone()
            } else {
                format!("{prefix}.{name}")
            };
            let target = self.resolve(property);
            let mut text = property["description"]
                .as_str()
                .or_else(|| target["description"].as_str())
                .map(one_line)
                .unwrap_or_default();
            for (value, meaning) in values(target) {
                let _ = write!(text, "<br>`{value}`: {meaning}");
            }
            if let Some(default) = property.get("default").filter(|value| is_plain(value)) {
                let _ = write!(text, "<br>Default `{}`.", bare(default));
            }
            if required.contains(&name.as_str()) {
                text.push_str(" **Required.**");
            }
            let _ = writeln!(
                out,
                "| `{field}` | {} | {} |",
                self.kind(property, target),
                text.trim().replace('|', "\\|")
            );
            self.below(target, &field, out);
        }
    }

    fn below(&self, target: &'a Value, field: &str, out: &mut String) {
        if target["properties"].is_object() && target["additionalProperties"] == Value::Bool(false)
        {
            self.rows(target, field, out);
        } else if target["items"].is_object() {
            self.rows(self.resolve(&target["items"]), &format!("{field}[]"), out);
        }
    }

    /// Follows `$ref`, also out of "this or null".
    fn resolve(&self, schema: &'a Value) -> &'a Value {
        if let Some(target) = schema["$ref"]
            .as_str()
            .and_then(|path| self.schema.pointer(path.trim_start_matches('#')))
        {
            return self.resolve(target);
        }
        schema["anyOf"]
            .as_array()
            .into_iter()
            .flatten()
            .find(|choice| choice["type"] != "null")
            .map_or(schema, |choice| self.resolve(choice))
    }

    fn kind(&self, property: &Value, target: &'a Value) -> String {
        if let Some(value) = property["const"].as_str() {
            return format!("`{value}`");
        }
        let types: Vec<&str> = match &target["type"] {
            Value::String(only) => vec![only],
            Value::Array(all) => all.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        };
        let mut kind = if types.contains(&"string") && types.contains(&"integer") {
            "quantity".to_owned()
        } else if !values(target).is_empty() {
            "one of".to_owned()
        } else {
            match types.iter().find(|name| **name != "null") {
                Some(&"object") if target["additionalProperties"].is_object() => "`*`: text".into(),
                Some(&"object") => "mapping".into(),
                Some(&"array") => "list".into(),
                Some(&"string") => "text".into(),
                Some(&"integer") => "number".into(),
                Some(&"boolean") => "`true`, `false`".into(),
                Some(other) => (*other).to_owned(),
                None => String::new(),
            }
        };
        let bound = |name: &str| property[name].as_u64().or_else(|| target[name].as_u64());
        if kind == "number"
            && let (Some(least), Some(most)) = (bound("minimum"), bound("maximum"))
        {
            let _ = write!(kind, ", {least} to {most}");
        }
        kind
    }
}

/// The words that an enumeration allows, with their meaning.
fn values(schema: &Value) -> Vec<(&str, String)> {
    schema["oneOf"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|choice| {
            let meaning = choice["description"].as_str().map(one_line)?;
            Some((choice["const"].as_str()?, meaning))
        })
        .collect()
}

fn is_plain(value: &Value) -> bool {
    !value.is_object() && !value.is_array() && !value.is_null()
}

fn bare(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
