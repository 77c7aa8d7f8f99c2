//! A call to record, and what its files must hold.

use anyhow::Result;
use callbox_core::{ArgumentPlace, DType, LiveArguments, LiveResult, LiveValue, Value};
use serde_json::{Map, Value as Json, json};

use crate::tensor::Tensor;

/// A call as it will be recorded.
#[derive(Debug)]
pub(crate) struct Call {
    /// The function's name.
    pub(crate) function: &'static str,
    /// Arguments by position.
    pub(crate) positional: Vec<Value<Tensor>>,
    /// Arguments by name.
    pub(crate) keyword: Vec<(&'static str, Value<Tensor>)>,
    /// How it ends.
    pub(crate) ending: Ending,
    /// What Python shows of arguments that are not tensors, by key.
    pub(crate) texts: Vec<(&'static str, String)>,
}

/// How a call ends.
#[derive(Debug)]
pub(crate) enum Ending {
    /// It returns.
    Returned {
        /// What it returns.
        result: Value<Tensor>,
        /// The arguments that it wrote into, as they are afterwards.
        written: Vec<(ArgumentPlace, Value<Tensor>)>,
    },
    /// It returns something that the session has no room for.
    ReturnedTooMuch(Value<Tensor>),
    /// It returns an error.
    Error(&'static str),
    /// It panics.
    Panic(&'static str),
    /// The process is gone before it returns.
    Killed,
}

impl Call {
    /// Builds a call that returns what it is given by position.
    pub(crate) fn echo(function: &'static str, positional: Vec<Value<Tensor>>) -> Call {
        let result = Value::tuple(positional.clone());
        let ending = Ending::Returned { result, written: Vec::new() };
        Call { function, positional, keyword: Vec::new(), ending, texts: Vec::new() }
    }

    /// Returns the arguments as an application shows them to the recorder.
    pub(crate) fn arguments(&self) -> Result<LiveArguments<'static>> {
        let keyword = self.keyword.iter().map(|(name, value)| Ok((*name, live(value)?)));
        Ok(LiveArguments {
            positional: self.positional.iter().map(live).collect::<Result<_>>()?,
            keyword: keyword.collect::<Result<_>>()?,
            self_id: None,
        })
    }

    /// Describes the call for the peers.
    pub(crate) fn describe(&self) -> Json {
        let positional =
            (0..).zip(&self.positional).map(|(place, value): (usize, _)| (format!("arg_{place}"), value));
        let keyword = self.keyword.iter().map(|(name, value)| (format!("kwarg_{name}"), value));
        let inputs = Tensors::of(positional.chain(keyword));
        let (status, outputs, after) = self.ending.outcome();
        let texts = self.texts.iter().map(|(key, text)| ((*key).to_owned(), Json::from(text.as_str())));
        json!({
            "function": self.function,
            "status": status,
            "inputs": inputs.describe(),
            "outputs": outputs.describe(),
            "args_after": after.describe(),
            "texts": texts.collect::<Map<_, _>>(),
        })
    }
}

impl Ending {
    /// Returns the status of the call's last line, and the tensors that its files must hold: results and
    /// arguments written.
    fn outcome(&self) -> (&'static str, Tensors<'_>, Tensors<'_>) {
        let nothing = Tensors::default;
        match self {
            Ending::Returned { result, written } => {
                let written = written.iter().map(|(place, value)| (place.to_string(), value));
                ("completed", Tensors::of_result(result), Tensors::of(written))
            }
            Ending::ReturnedTooMuch(_) => ("outputs_skipped", nothing(), nothing()),
            Ending::Error(_) | Ending::Panic(_) => ("failed", nothing(), nothing()),
            Ending::Killed => ("inputs_saved", nothing(), nothing()),
        }
    }
}

/// The tensors of one file under their keys, in order.
#[derive(Debug, Default)]
struct Tensors<'a>(Vec<(String, &'a Tensor)>);

impl<'a> Tensors<'a> {
    fn of(values: impl Iterator<Item = (String, &'a Value<Tensor>)>) -> Tensors<'a> {
        let mut tensors = Tensors::default();
        values.for_each(|(key, value)| tensors.add(key, value));
        tensors
    }

    fn of_result(result: &'a Value<Tensor>) -> Tensors<'a> {
        match result {
            Value::Tuple { items, .. } => Tensors::of(
                (0..).zip(items).map(|(place, item): (usize, _)| (format!("result_{place}"), item)),
            ),
            other => Tensors::of(std::iter::once(("result".to_owned(), other))),
        }
    }

    /// Names nested tensors as FlashInfer's recorder does.
    fn add(&mut self, key: String, value: &'a Value<Tensor>) {
        match value {
            Value::Tensor(tensor) => self.0.push((key, tensor)),
            Value::List(items) | Value::Tuple { items, .. } => {
                items.iter().enumerate().for_each(|(place, item)| self.add(format!("{key}__{place}"), item));
            }
            Value::Map(entries) => {
                for (place, (name, value)) in entries.iter().enumerate() {
                    self.add(format!("{key}__key_{place}"), name);
                    self.add(format!("{key}__value_{place}"), value);
                }
            }
            Value::None
            | Value::Bool(_)
            | Value::Int(_)
            | Value::Float(_)
            | Value::Text(_)
            | Value::DType(_)
            | Value::Enum { .. }
            | Value::Truncated { .. }
            | Value::Opaque { .. } => {}
        }
    }

    fn describe(&self) -> Json {
        let tensors = self.0.iter().map(|(key, tensor)| {
            let mut tensor = tensor.describe();
            tensor["key"] = Json::from(key.as_str());
            tensor
        });
        json!({ "tensors": tensors.collect::<Vec<_>>(), "only_pt": self.0.iter().any(|(_, tensor)| only_pt(tensor)) })
    }
}

/// Tells whether safetensors cannot hold a tensor.
fn only_pt(tensor: &Tensor) -> bool {
    match tensor.dtype {
        DType::Complex32 | DType::Complex128 => true,
        dtype => dtype == DType::Float4E2M1FnX2 && tensor.shape.is_empty(),
    }
}

/// Returns a value with its tensors as the recorder sees them.
pub(crate) fn live(value: &Value<Tensor>) -> Result<LiveValue<'static>> {
    value.try_map(&mut Tensor::view)
}

/// Returns a result as the recorder sees it.
pub(crate) fn live_result(
    result: &Value<Tensor>,
    written: &[(ArgumentPlace, Value<Tensor>)],
) -> Result<LiveResult<'static>> {
    let written = written.iter().map(|(place, value)| Ok((*place, live(value)?))).collect::<Result<_>>()?;
    Ok(LiveResult { value: live(result)?, written })
}
