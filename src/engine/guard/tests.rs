//! The guards together, as the engine uses them: each behaviour through one helper.

use super::*;
