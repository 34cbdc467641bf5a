//! The domain without any I/O: events and a command in, events or a refusal out.

use annals::testing::{
    Sequences, Step, given, given_empty_log, given_log, given_nothing, given_stored, round_trips,
};
use annals::{Command, Context, FieldErrors};
use proptest::prelude::*;
use serde_json::json;
use shop::account::AccountEvent::{FundsDeposited, FundsWithdrawn};
use shop::account::AccountRefusal::{InsufficientFunds, TooMuch};
use shop::account::{Account, Deposit, Withdraw};
use shop::customer::CustomerEvent::AddressUpdated;
use shop::customer::{Address, Customer, UpdateAddress};
use shop::invoice::InvoiceEvent::{InvoiceCredited, InvoiceIssued, InvoicePaid};
use shop::invoice::InvoiceRefusal::{MoreThanDue, MoreThanInvoiced};
use shop::invoice::{AMOUNT_MAX, Credit, Invoice, InvoiceEvent, InvoiceRefusal, IssueInvoice, Pay};
use shop::item::ItemEvent::{ItemPriced, ItemRestocked, ItemTaken};
use shop::item::ItemRefusal::{NotEnough, NotFound, PriceChanged, TooMany};
use shop::item::{InventoryItem, ItemEvent, ItemRefusal, Restock, SetPrice, Take};
use shop::naming::Sku;
use shop::order::OrderEvent::OrderCreated;
use shop::order::{CreateOrder, Order, OrderEvent, OrderItem, OrderRefusal, WantedItem};
use shop::product::ProductEvent::{ProductAdded, ProductPriceChanged, ProductRemoved};
use shop::product::{Offer, Product, ProductRefusal, Remove};

fn priced(price: u64) -> ItemEvent {
    ItemPriced { price }
}

fn restocked(quantity: u64) -> ItemEvent {
    ItemRestocked { quantity }
}

fn set_price(price: u64) -> SetPrice {
    SetPrice { sku: Sku::from("TEA"), price }
}

#[test]
fn an_item_begins_with_a_price() {
    let nothing = given_nothing::<InventoryItem>;
    nothing().when(Restock { quantity: 1 }).then_refused(NotFound);
    nothing().when(Take { quantity: 1, price: 450 }).then_refused(NotFound);
    nothing().when(set_price(450)).then([priced(450)]);
    let item = || given::<InventoryItem>([priced(450)]);
    item().when(set_price(500)).then([priced(500)]);
    item().when(set_price(450)).then_nothing();
    item().when(set_price(0)).then_invalid(["price"]);
    item().when(SetPrice { sku: Sku::from("T A"), price: 1 }).then_invalid(["sku"]);
}

#[test]
fn what_is_taken_is_there_and_costs_what_it_costs() {
    let history = [priced(450), restocked(10), ItemTaken { quantity: 4 }];
    let item = || given::<InventoryItem>(history.clone());
    item().when(Take { quantity: 6, price: 450 }).then([ItemTaken { quantity: 6 }]);
    item().when(Take { quantity: 7, price: 450 }).then_refused(NotEnough { stock: 6 });
    item().when(Take { quantity: 1, price: 1 }).then_refused(PriceChanged { price: 450 });
    item().when(Take { quantity: 0, price: 450 }).then_invalid(["quantity"]);
}

#[test]
fn a_stock_does_not_overflow_and_applying_never_fails() {
    let full = given::<InventoryItem>([priced(1), restocked(u64::MAX)]);
    full.when(Restock { quantity: 1 }).then_refused(TooMany);
    let stock = |events: &[ItemEvent]| given::<InventoryItem>(events.to_vec()).state().stock;
    assert_eq!(stock(&[restocked(u64::MAX), restocked(1)]), u64::MAX);
    assert_eq!(stock(&[ItemTaken { quantity: 1 }]), 0);
}

/// Whatever may be asked of an item.
#[derive(Clone, Debug)]
enum AnyCommand {
    SetPrice(SetPrice),
    Restock(Restock),
    Take(Take),
}

impl Command<InventoryItem> for AnyCommand {
    type Error = ItemRefusal;

    fn field_errors(&self) -> FieldErrors {
        match self {
            Self::SetPrice(command) => command.field_errors(),
            Self::Restock(command) => command.field_errors(),
            Self::Take(command) => command.field_errors(),
        }
    }

    fn decide(self, item: &InventoryItem) -> Result<Vec<ItemEvent>, ItemRefusal> {
        match self {
            Self::SetPrice(command) => command.decide(item),
            Self::Restock(command) => command.decide(item),
            Self::Take(command) => command.decide(item),
        }
    }
}

fn any_command() -> impl Strategy<Value = AnyCommand> {
    prop_oneof![
        (1..3_u64).prop_map(|price| AnyCommand::SetPrice(set_price(price))),
        (0..20_u64).prop_map(|quantity| AnyCommand::Restock(Restock { quantity })),
        (0..20_u64, 1..3_u64)
            .prop_map(|(quantity, price)| AnyCommand::Take(Take { quantity, price })),
    ]
}

#[test]
fn a_stock_is_what_was_restocked_less_what_was_taken() {
    Sequences::of(any_command()).keep_each_step(|step: &Step<'_, InventoryItem, AnyCommand>| {
        let (before, after) = (i128::from(step.before.stock), i128::from(step.after.stock));
        after - before
            == match (step.command, step.answer) {
                (AnyCommand::Restock(Restock { quantity }), Ok(())) => i128::from(*quantity),
                (AnyCommand::Take(Take { quantity, .. }), Ok(())) => -i128::from(*quantity),
                _ => 0,
            }
    });
}

fn wanted(sku: &str, quantity: u64, price: u64) -> WantedItem {
    WantedItem { sku: sku.into(), quantity, price }
}

fn order(items: Vec<WantedItem>, total: u64) -> CreateOrder {
    CreateOrder { user_id: "ada".into(), items, total }
}

fn two_teas() -> CreateOrder {
    order(vec![wanted("TEA", 2, 450)], 900)
}

fn created() -> OrderEvent {
    let items = vec![OrderItem { sku: "TEA".into(), quantity: 2, price: 450 }];
    OrderCreated { user_id: "ada".into(), items, total: 900 }
}

fn ada() -> Context {
    Context::new().actor("ada")
}

#[test]
fn an_order_tells_everything_that_is_wrong_with_it() {
    let nothing = given_nothing::<Order>;
    nothing().when(CreateOrder::default()).then_invalid(["items", "user_id"]);
    let items = vec![wanted("TEA", 1, 450), wanted("", 0, u64::MAX)];
    let wrong = CreateOrder { user_id: "a b".into(), items, total: 7 };
    let fields = ["items[1].price", "items[1].quantity", "items[1].sku", "total", "user_id"];
    nothing().when(wrong).then_invalid(fields);
    nothing().when(order(vec![wanted("TEA", 1, 1); 101], 101)).then_invalid(["items"]);
}

#[test]
fn the_total_is_what_the_items_cost() {
    let nothing = || given_nothing::<Order>().by(ada());
    let items = || vec![wanted("TEA", 2, 450), wanted("CUP", 1, 1_200)];
    nothing().when(order(items(), 2_100)).then_state(|order| assert_eq!(order.total, 2_100));
    nothing().when(order(items(), 1_650)).then_invalid(["total"]);
    // More than can be counted is never what it costs, whatever it comes to in 64 bits.
    let wraps = order(vec![wanted("TEA", u64::MAX, 2)], u64::MAX - 1);
    nothing().when(wraps).then_invalid(["items[0].quantity", "total"]);
}

#[test]
fn users_order_for_themselves() {
    let nothing = given_nothing::<Order>;
    nothing().by(ada()).when(two_teas()).then([created()]).then_metadata("actor", "ada");
    nothing().by(Context::new().actor("bob")).when(two_teas()).then_denied();
    nothing().by(Context::new()).when(two_teas()).then_denied();
}

#[test]
fn an_order_is_created_once() {
    let before = given::<Order>([created()]).by(ada());
    let now = before.state();
    before.when(two_teas()).then_refused(OrderRefusal::AlreadyCreated);
    assert!(two_teas().is(&now));
    assert!(!CreateOrder { total: 901, ..two_teas() }.is(&now));
}

fn update(street: &str) -> UpdateAddress {
    let asked = json!({ "street": street, "city": "Bern" });
    let asked: UpdateAddress = serde_json::from_value(asked).expect("it is one");
    UpdateAddress { customer_id: "ada".into(), ..asked }
}

fn updated(street: &str, country: &str) -> shop::customer::CustomerEvent {
    let address = Address { street: street.into(), city: "Bern".into(), country: country.into() };
    AddressUpdated { customer_id: "ada".into(), address }
}

#[test]
fn an_address_is_in_the_usa_unless_said_otherwise_and_the_same_one_is_nothing() {
    let nothing = || given_nothing::<Customer>().by(ada());
    nothing().when(update("Elm 3")).then([updated("Elm 3", "USA")]);
    let customer = || given::<Customer>([updated("Elm 3", "USA")]).by(ada());
    customer().when(update("Elm 3")).then_nothing();
    let abroad = UpdateAddress { country: "Switzerland".into(), ..update("Elm 3") };
    customer().when(abroad).then([updated("Elm 3", "Switzerland")]);
    customer().by(Context::new().actor("bob")).when(update("Elm 4")).then_denied();
}

#[test]
fn a_line_of_an_address_is_one_line() {
    for street in ["", " ", "a\nb", &"x".repeat(201)] {
        given_nothing::<Customer>().when(update(street)).then_invalid(["street"]);
    }
}

#[test]
fn an_address_of_version_1_is_the_same_address() {
    let old = |country: Option<&str>| {
        let mut data = json!({ "user_id": "ada", "street": "Elm 3", "city": "Bern" });
        if let Some(country) = country {
            data["country"] = json!(country);
        }
        given_stored::<Customer>([json!({ "type": "AddressUpdated", "data": data })]).by(ada())
    };
    old(None).when(update("Elm 3")).then_nothing();
    let abroad = UpdateAddress { country: "Switzerland".into(), ..update("Elm 3") };
    old(Some("Switzerland")).when(abroad).then_nothing();
}

fn issued(number: u64, order_id: &str) -> InvoiceEvent {
    let (order_id, user_id) = (order_id.into(), "ada".into());
    InvoiceIssued { year: "2026".into(), number, order_id, user_id, total: 900 }
}

#[test]
fn an_invoice_has_the_next_number_of_its_year_and_an_order_one_invoice() {
    let issue = |year: &str| IssueInvoice { order_id: "o1".into(), year: year.into() };
    given_empty_log().when(issue("2026")).then_refused(InvoiceRefusal::NotFound);
    let ordered = || given_empty_log().and_in("order-o1", [created()]);
    ordered()
        .when(issue("2026"))
        .then([issued(1, "o1")])
        .then_in("invoice-2026-1")
        .then_tags(["year:2026", "order:o1"]);
    let others = || ordered().and([issued(1, "o7"), issued(2, "o8")]);
    others().when(issue("2026")).then([issued(3, "o1")]);
    others().when(issue("2027")).then_in("invoice-2027-1");
    ordered().and([issued(1, "o1")]).when(issue("2026")).then_nothing();
    // Somebody else's order is not this one.
    let other = given_log([issued(1, "o1")]).and_in("order-o2", [created()]);
    other.when(issue("2026")).then_refused(InvoiceRefusal::NotFound);
}

#[test]
fn nobody_pays_more_than_is_due_nor_gets_more_back_than_was_invoiced() {
    let credit = |amount| Credit { amount, reason: "chipped".into() };
    let credited = |amount| InvoiceCredited { amount, reason: "chipped".into() };
    let nothing = given_nothing::<Invoice>;
    nothing().when(Pay { amount: 1 }).then_refused(InvoiceRefusal::NotFound);
    nothing().when(credit(1)).then_refused(InvoiceRefusal::NotFound);

    let history = || [issued(1, "o1"), InvoicePaid { amount: 500 }, credited(100)];
    let open = || given::<Invoice>(history());
    open().when(Pay { amount: 300 }).then([InvoicePaid { amount: 300 }]);
    open().when(Pay { amount: 301 }).then_refused(MoreThanDue { due: 300 });
    open().when(credit(800)).then([credited(800)]);
    open().when(credit(801)).then_refused(MoreThanInvoiced { left: 800 });
    open().when(Credit::default()).then_invalid(["amount", "reason"]);
}

#[test]
fn nobody_takes_more_out_of_an_account_than_is_in_it() {
    let account = || {
        let deposited = FundsDeposited { amount: 100 };
        given::<Account>([deposited, FundsWithdrawn { amount: 40 }])
    };
    account().when(Withdraw { amount: 60 }).then([FundsWithdrawn { amount: 60 }]);
    account().when(Withdraw { amount: 61 }).then_refused(InsufficientFunds { balance: 60 });
    let most = AMOUNT_MAX - 60;
    account().when(Deposit { amount: most }).then([FundsDeposited { amount: most }]);
    account().when(Deposit { amount: most + 1 }).then_refused(TooMuch);
    account().when(Deposit::default()).then_invalid(["amount"]);
    account().when(Withdraw::default()).then_invalid(["amount"]);
}

#[test]
fn a_product_is_added_offered_for_less_and_removed() {
    let sku = || Sku::from("TEA");
    let offer = |name: &str, price| Offer { sku: sku(), name: name.into(), price };
    let added = || ProductAdded { product_id: sku(), name: "Tea".into(), price: 450 };
    given_nothing::<Product>().when(offer("Tea", 450)).then([added()]);
    given_nothing::<Product>().when(offer("", 0)).then_invalid(["name", "price"]);
    given_nothing::<Product>().when(Remove { sku: sku() }).then_refused(ProductRefusal::NotFound);

    let product = || given::<Product>([added()]);
    let changed = ProductPriceChanged { product_id: sku(), new_price: 400 };
    product().when(offer("Tea", 400)).then([changed]);
    product().when(offer("Tea", 450)).then_nothing();
    let other = ProductRefusal::OtherName { name: "Tea".into() };
    product().when(offer("Chai", 450)).then_refused(other);
    product().when(Remove { sku: sku() }).then([ProductRemoved { product_id: sku() }]);
    let again = [added(), ProductRemoved { product_id: sku() }];
    given::<Product>(again).when(offer("Tea", 450)).then([added()]);
}

#[test]
fn events_are_read_as_they_were_written() {
    round_trips((any::<bool>(), any::<u64>()).prop_map(|(comes_in, amount)| match comes_in {
        true => FundsDeposited { amount },
        false => FundsWithdrawn { amount },
    }));
    round_trips(any::<(String, String, u64)>().prop_map(|(sku, name, price)| ProductAdded {
        product_id: sku.into(),
        name,
        price,
    }));
    let items = (any::<String>(), any::<u64>(), any::<u64>())
        .prop_map(|(sku, quantity, price)| OrderItem { sku: sku.into(), quantity, price });
    let items = proptest::collection::vec(items, 0..4);
    round_trips(
        (any::<String>(), items, any::<u64>()).prop_map(|(user_id, items, total)| OrderCreated {
            user_id,
            items,
            total,
        }),
    );
    round_trips(any::<[String; 4]>().prop_map(|[customer_id, street, city, country]| {
        AddressUpdated { customer_id, address: Address { street, city, country } }
    }));
}
