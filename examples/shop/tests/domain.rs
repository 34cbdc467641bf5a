//! The domain without any I/O: events and a command in, events or a refusal out.

use annals::{Aggregate, Apply, Command, Context, Decision, FieldErrors};
use shop::customer::CustomerEvent::AddressUpdated;
use shop::customer::{Address, Customer, UpdateAddress};
use shop::invoice::InvoiceEvent::{InvoiceCredited, InvoiceIssued, InvoicePaid};
use shop::invoice::InvoiceRefusal::{MoreThanDue, MoreThanInvoiced};
use shop::invoice::{Credit, Invoice, InvoiceEvent, InvoiceRefusal, IssueInvoice, Pay};
use shop::item::ItemEvent::{ItemPriced, ItemRestocked, ItemTaken};
use shop::item::ItemRefusal::{NotEnough, NotFound, PriceChanged, TooMany};
use shop::item::{InventoryItem, ItemEvent, Restock, SetPrice, Take};
use shop::naming::Sku;
use shop::order::OrderEvent::OrderCreated;
use shop::order::{CreateOrder, Order, OrderItem, OrderRefusal, WantedItem};

fn fold<A: Aggregate>(history: impl IntoIterator<Item = A::Event>) -> A {
    let mut state = A::default();
    history.into_iter().for_each(|event| state.apply(event));
    state
}

fn priced(price: u64) -> ItemEvent {
    ItemPriced { price }
}

fn restocked(quantity: u64) -> ItemEvent {
    ItemRestocked { quantity }
}

#[track_caller]
fn check_item<C>(history: &[ItemEvent], command: C, expected: Result<Vec<ItemEvent>, C::Error>)
where
    C: Command<InventoryItem, Error: PartialEq>,
{
    let item: InventoryItem = fold(history.iter().cloned());
    assert_eq!(command.decide(&item), expected);
}

#[test]
fn an_item_begins_with_a_price() {
    let set = |price| SetPrice { sku: Sku::from("TEA"), price };
    check_item(&[], Restock { quantity: 1 }, Err(NotFound));
    check_item(&[], Take { quantity: 1, price: 450 }, Err(NotFound));
    check_item(&[], set(450), Ok(vec![priced(450)]));
    check_item(&[priced(450)], set(500), Ok(vec![priced(500)]));
    // The same price again is nothing.
    check_item(&[priced(450)], set(450), Ok(vec![]));
}

#[test]
fn what_is_taken_is_there_and_costs_what_it_costs() {
    let history = [priced(450), restocked(10), ItemTaken { quantity: 4 }];
    check_item(&history, Take { quantity: 6, price: 450 }, Ok(vec![ItemTaken { quantity: 6 }]));
    check_item(&history, Take { quantity: 7, price: 450 }, Err(NotEnough { stock: 6 }));
    check_item(&history, Take { quantity: 1, price: 1 }, Err(PriceChanged { price: 450 }));
}

#[test]
fn a_stock_does_not_overflow_and_applying_never_fails() {
    let full = [priced(1), restocked(u64::MAX)];
    check_item(&full, Restock { quantity: 1 }, Err(TooMany));
    let item: InventoryItem = fold([restocked(u64::MAX), restocked(1)]);
    assert_eq!(item.stock, u64::MAX);
    assert_eq!(fold::<InventoryItem>([ItemTaken { quantity: 1 }]).stock, 0);
}

fn wanted(sku: &str, quantity: u64, price: u64) -> WantedItem {
    WantedItem { sku: sku.into(), quantity, price }
}

fn order(items: Vec<WantedItem>, total: u64) -> CreateOrder {
    CreateOrder { user_id: "ada".into(), items, total }
}

fn told(errors: &FieldErrors) -> Vec<(&str, &str)> {
    errors.iter().map(|error| (&*error.path, &*error.code)).collect()
}

#[test]
fn an_order_tells_everything_that_is_wrong_with_it() {
    let empty = CreateOrder::default();
    assert_eq!(told(&empty.field_errors()), [("items", "length"), ("user_id", "name")]);
    let wrong = CreateOrder {
        user_id: "a b".into(),
        items: vec![wanted("TEA", 1, 450), wanted("", 0, u64::MAX)],
        total: 7,
    };
    assert_eq!(
        told(&wrong.field_errors()),
        [
            ("items[1].price", "range"),
            ("items[1].quantity", "range"),
            ("items[1].sku", "name"),
            ("total", "mismatch"),
            ("user_id", "name"),
        ]
    );
    let many = order(vec![wanted("TEA", 1, 1); 101], 101);
    assert_eq!(told(&many.field_errors()), [("items", "length")]);
}

#[test]
fn the_total_is_what_the_items_cost() {
    let items = || vec![wanted("TEA", 2, 450), wanted("CUP", 1, 1_200)];
    assert_eq!(order(items(), 2_100).field_errors(), FieldErrors::none());
    assert_eq!(told(&order(items(), 1_650).field_errors()), [("total", "mismatch")]);
    // More than can be counted is never what it costs, whatever it comes to in 64 bits.
    let huge = order(vec![wanted("TEA", u64::MAX, 2)], u64::MAX - 1);
    assert!(told(&huge.field_errors()).contains(&("total", "mismatch")));
}

#[test]
fn users_order_for_themselves() {
    let order = order(vec![wanted("TEA", 1, 450)], 450);
    let may = |context: Context| order.authorise(&Order::default(), &context).is_ok();
    assert!(may(Context::new().actor("ada")));
    assert!(!may(Context::new().actor("bob")) && !may(Context::new()));
}

#[test]
fn an_order_is_created_once() {
    let order = order(vec![wanted("TEA", 2, 450)], 900);
    let created = OrderCreated {
        user_id: "ada".into(),
        items: vec![OrderItem { sku: "TEA".into(), quantity: 2, price: 450 }],
        total: 900,
    };
    assert_eq!(order.clone().decide(&Order::default()), Ok(vec![created.clone()]));
    let now: Order = fold([created]);
    assert_eq!(order.clone().decide(&now), Err(OrderRefusal::AlreadyCreated));
    assert!(order.is(&now));
    assert!(!CreateOrder { total: 901, ..order }.is(&now));
}

fn address(street: &str, country: &str) -> Address {
    Address { street: street.into(), city: "Bern".into(), country: country.into() }
}

#[test]
fn an_address_is_in_the_usa_unless_said_otherwise_and_the_same_one_is_nothing() {
    let asked: UpdateAddress =
        serde_json::from_str(r#"{"street":"Hauptstr. 3","city":"Bern"}"#).expect("it is one");
    let update = UpdateAddress { customer_id: "ada".into(), ..asked };
    assert_eq!(update.field_errors(), FieldErrors::none());
    let updated =
        AddressUpdated { customer_id: "ada".into(), address: address("Hauptstr. 3", "USA") };
    assert_eq!(update.clone().decide(&Customer::default()), Ok(vec![updated.clone()]));
    let customer: Customer = fold([updated]);
    assert_eq!(update.clone().decide(&customer), Ok(vec![]));
    let elsewhere = UpdateAddress { country: "Switzerland".into(), ..update };
    let updated = AddressUpdated {
        customer_id: "ada".into(),
        address: address("Hauptstr. 3", "Switzerland"),
    };
    assert_eq!(elsewhere.decide(&customer), Ok(vec![updated]));
}

#[test]
fn a_line_of_an_address_is_one_line() {
    let lines = ["", " ", "a\nb", &"x".repeat(201)];
    for street in lines {
        let update = UpdateAddress {
            customer_id: "ada".into(),
            street: street.into(),
            city: "Bern".into(),
            ..UpdateAddress::default()
        };
        assert_eq!(told(&update.field_errors()), [("street", "line")], "{street:?}");
    }
}

fn issued(number: u64) -> InvoiceEvent {
    InvoiceIssued {
        year: "2026".into(),
        number,
        order_id: "o1".into(),
        user_id: "ada".into(),
        total: 900,
    }
}

#[test]
fn an_invoice_has_the_next_number_and_an_order_one_invoice() {
    let issue = IssueInvoice { order_id: "o1".into(), year: "2026".into() };
    let mut model = issue.model();
    assert_eq!(issue.clone().decide(&model), Err(InvoiceRefusal::NotFound));
    model.0.apply(OrderCreated {
        user_id: "ada".into(),
        items: vec![OrderItem { sku: "TEA".into(), quantity: 2, price: 450 }],
        total: 900,
    });
    assert_eq!(issue.clone().decide(&model), Ok(vec![issued(1)]));
    model.2.apply(issued(1));
    model.2.apply(issued(2));
    assert_eq!(issue.clone().decide(&model), Ok(vec![issued(3)]));
    let stream = issue.stream(&issued(3)).expect("a name");
    assert_eq!(stream.as_str(), "invoice-2026-3");
    model.1.apply(issued(2));
    assert_eq!(issue.decide(&model), Ok(vec![]));
}

#[test]
fn nobody_pays_more_than_is_due_nor_gets_more_back_than_was_invoiced() {
    let invoice = |history: &[InvoiceEvent]| fold::<Invoice>(history.iter().cloned());
    let credit = |amount| Credit { amount, reason: "chipped".into() };
    let credited = |amount| InvoiceCredited { amount, reason: "chipped".into() };
    let nothing = invoice(&[]);
    assert_eq!(Pay { amount: 1 }.decide(&nothing), Err(InvoiceRefusal::NotFound));
    assert_eq!(credit(1).decide(&nothing), Err(InvoiceRefusal::NotFound));

    let open = invoice(&[issued(1), InvoicePaid { amount: 500 }, credited(100)]);
    assert_eq!(Pay { amount: 300 }.decide(&open), Ok(vec![InvoicePaid { amount: 300 }]));
    assert_eq!(Pay { amount: 301 }.decide(&open), Err(MoreThanDue { due: 300 }));
    assert_eq!(credit(800).decide(&open), Ok(vec![credited(800)]));
    assert_eq!(credit(801).decide(&open), Err(MoreThanInvoiced { left: 800 }));
}
