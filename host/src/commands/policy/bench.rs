//! `holdfast policy bench`.

use super::opened::Place;
use crate::commands::{CommandError, Output};

#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    place: Place,
}

pub fn run(_: &Arguments, _: &mut Output) -> Result<(), CommandError> {
    Ok(())
}
