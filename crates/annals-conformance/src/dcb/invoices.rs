//! Invoices are numbered 1, 2, 3 … without gaps.

use annals_core::RecordedEvent;
use serde_json::json;

use super::{decide, fact, number};
use crate::Backend;
use crate::probe::Probe;
use crate::storm::together;
use crate::words::{stream, typed};

async fn invoice(store: &Probe, customer: usize) -> u64 {
    let next =
        |history: &[RecordedEvent]| history.last().map_or(1, |last| number(last, "number") + 1);
    let written = decide(store, typed(["InvoiceWritten"]), |history| {
        let number = next(history);
        let data = json!({ "number": number });
        let event = fact("InvoiceWritten", &[format!("invoice:{number}")], &data);
        Ok((stream(format!("customer-{customer}")), event))
    });
    let receipt = written.await.expect("an invoice is never refused");
    let read = annals_core::Read::all().after(before(receipt.first_position)).limit(1);
    number(&store.read(read).await[0], "number")
}

fn before(position: annals_core::Position) -> annals_core::Position {
    annals_core::Position::new(position.get() - 1)
}

pub(crate) async fn dcb_invoice_numbers(backend: &dyn Backend) {
    let store = Probe::open(backend).await;
    for expected in 1..=5 {
        assert_eq!(invoice(&store, 7).await, expected);
    }
}

/// Ten cashiers write invoices at the same time; the numbers are those one cashier would give.
pub(crate) async fn dcb_invoice_numbers_racing(backend: &dyn Backend) {
    let store = Probe::open(backend).await;
    let told = together(10, |cashier| {
        let store = store.clone();
        async move { [invoice(&store, cashier).await, invoice(&store, cashier).await] }
    });
    let mut told: Vec<_> = told.await.into_iter().flatten().collect();
    told.sort_unstable();
    let stored: Vec<_> = store.log().await.iter().map(|event| number(event, "number")).collect();
    let expected: Vec<_> = (1..=20).collect();
    assert_eq!(stored, expected, "the numbers in the order of the log");
    assert_eq!(told, expected, "the numbers the cashiers were told");
}
