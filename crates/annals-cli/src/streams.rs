//! `annals streams`: which streams there are.

use annals_core::ListStreams;
use futures_util::TryStreamExt;

use crate::args;
use crate::failure::Failure;
use crate::output::{Output, grouped, shown};

pub(crate) async fn run(args: args::Streams, mut output: Output) -> Result<(), Failure> {
    let opened = args.store.location.open_existing().await?;
    let mut list = ListStreams::all();
    list.category = args.category;
    let mut infos = opened.store().streams(list);
    while let Some(info) = infos.try_next().await? {
        if output.is_json() {
            output.json(&info)?;
        } else {
            let events = grouped(info.version.get());
            output.line(&format!("{events:>12}  {}", shown(info.stream.as_str())))?;
        }
    }
    output.flush()?;
    opened.close().await;
    Ok(())
}
