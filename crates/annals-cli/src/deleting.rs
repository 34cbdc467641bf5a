//! What `annals projections delete` and `annals inboxes delete` have in common.

use annals_api::Deleted;

use crate::failure::Failure;
use crate::output::{Output, grouped, shown};

/// Why nothing was deleted yet: what would go, and how to mean it.
pub(crate) fn unconfirmed(what: &str) -> Failure {
    Failure::invalid(format!(
        "{what} would go for good; make sure that no application runs it any more, and repeat \
         this with --yes"
    ))
}

/// What went.
pub(crate) fn tell(deleted: &Deleted, output: &mut Output) -> Result<(), Failure> {
    if output.is_json() {
        return output.json(deleted);
    }
    let name = shown(deleted.name.as_str());
    let gone = [
        (deleted.parked, "parked event", "parked events"),
        (deleted.rows, "row", "rows"),
        (deleted.deliveries, "delivery", "deliveries"),
    ];
    let gone = gone.into_iter().filter(|(count, ..)| *count > 0);
    let gone: Vec<_> = gone.map(|(count, one, many)| counted(count, one, many)).collect();
    let with = if gone.is_empty() { String::new() } else { format!(", with {}", gone.join(", ")) };
    output
        .line(&format!("{name} is deleted{with}; if an application starts it, it begins anew"))?;
    for table in &deleted.tables {
        output.line(&format!("  the table {} is dropped", shown(table)))?;
    }
    Ok(())
}

/// `1 row`, `2,000 rows`.
pub(crate) fn counted(count: u64, one: &str, many: &str) -> String {
    format!("{} {}", grouped(count), if count == 1 { one } else { many })
}
