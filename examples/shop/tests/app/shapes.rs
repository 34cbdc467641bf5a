//! Whatever the shop has ever stored, it can read.

use annals::schema::{self, Schema};
use shop::account::AccountEvent;
use shop::customer::CustomerEvent;
use shop::invoice::InvoiceEvent;
use shop::item::ItemEvent;
use shop::order::OrderEvent;
use shop::product::ProductEvent;

#[test]
fn every_event_ever_stored_can_be_read() {
    let events = Schema::new()
        .with::<AccountEvent>()
        .with::<CustomerEvent>()
        .with::<InvoiceEvent>()
        .with::<ItemEvent>()
        .with::<OrderEvent>()
        .with::<ProductEvent>();
    schema::check_lock("events.lock.json", &events);
    schema::check_fixtures("fixtures/events", "events.lock.json", &events);
}
