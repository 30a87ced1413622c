//! Between protobuf's JSON values and serde's. Never fails: every value of one side has a place on the other.

use prost_types::{ListValue, Struct, Value, value::Kind};

/// Below this magnitude every integer has an exact double.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// Turns a wire value into JSON. Integral numbers become integers; what JSON cannot say (NaN) becomes null.
pub fn to_json(value: &Value) -> serde_json::Value {
    match &value.kind {
        None | Some(Kind::NullValue(_)) => serde_json::Value::Null,
        Some(Kind::BoolValue(b)) => (*b).into(),
        Some(Kind::NumberValue(n)) if n.fract() == 0.0 && n.abs() <= EXACT => (*n as i64).into(),
        Some(Kind::NumberValue(n)) => (*n).into(),
        Some(Kind::StringValue(s)) => s.as_str().into(),
        Some(Kind::ListValue(list)) => list.values.iter().map(to_json).collect(),
        Some(Kind::StructValue(map)) => map.fields.iter().map(|(k, v)| (k.clone(), to_json(v))).collect(),
    }
}

/// Turns JSON into a wire value. Integers beyond 2^53 lose digits: send them as strings.
pub fn from_json(value: serde_json::Value) -> Value {
    let kind = match value {
        serde_json::Value::Null => Kind::NullValue(0),
        serde_json::Value::Bool(b) => Kind::BoolValue(b),
        serde_json::Value::Number(n) => Kind::NumberValue(n.as_f64().unwrap_or(f64::NAN)),
        serde_json::Value::String(s) => Kind::StringValue(s),
        serde_json::Value::Array(items) => {
            Kind::ListValue(ListValue { values: items.into_iter().map(from_json).collect() })
        }
        serde_json::Value::Object(map) => {
            Kind::StructValue(Struct { fields: map.into_iter().map(|(k, v)| (k, from_json(v))).collect() })
        }
    };
    Value { kind: Some(kind) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_survives_the_wire_and_integers_stay_integers() {
        let json =
            serde_json::json!({"n": 3, "x": 0.5, "big": -9_007_199_254_740_992_i64, "l": [null, true, "s"]});
        assert_eq!(to_json(&from_json(json.clone())), json);
        assert_eq!(to_json(&from_json(serde_json::json!(7.0))).to_string(), "7");
    }

    #[test]
    fn what_json_cannot_say_becomes_null() {
        assert!(to_json(&Value { kind: Some(Kind::NumberValue(f64::NAN)) }).is_null());
        assert!(to_json(&Value { kind: None }).is_null());
    }
}
