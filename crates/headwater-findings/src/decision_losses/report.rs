//! Figures and tables of the finding.

use headwater_protocol::{Effect, Figure, ProtocolError, Records, Table, TableValue};

use super::measure::{GROUPS, WEIGHTS};
use super::{OPTIMIZERS, POPULATIONS, REMEDIED, auc, relative};

pub(super) fn figures(_records: &Records) -> Result<Vec<Figure>, ProtocolError> {
    Ok(vec![])
}

pub(super) fn tables(_records: &Records) -> Vec<Table> {
    vec![]
}
