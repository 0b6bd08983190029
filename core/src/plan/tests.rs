//! The plan's decisions, one each.

use serde_json::json;

use super::*;
