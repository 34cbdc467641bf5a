//! An invoice for an order: issued once, under the next number of its year; then paid, or
//! credited.

use annals::{
    Aggregate, Apply, Command, Decision, DecisionModel, Event, EventType, FieldErrors, InvalidName,
    Query, QueryItem, StreamId,
};
use serde::{Deserialize, Serialize};
use validator::Validate;

use self::InvoiceEvent::{InvoiceCredited, InvoiceIssued, InvoicePaid};
use crate::order::{Order, OrderEvent};
use crate::whole::whole;

/// More than any order comes to.
pub const AMOUNT_MAX: u64 = 1_000_000_000_000_000_000;

#[derive(Clone, Debug, PartialEq, Event)]
pub enum InvoiceEvent {
    InvoiceIssued {
        #[event(tag = "year")]
        year: String,
        number: u64,
        #[event(tag = "order")]
        order_id: String,
        user_id: String,
        total: u64,
    },
    InvoicePaid {
        amount: u64,
    },
    InvoiceCredited {
        amount: u64,
        reason: String,
    },
}

/// How many invoices a year has had.
#[derive(Debug, DecisionModel)]
#[model(event = InvoiceEvent, types(InvoiceIssued))]
pub struct Numbers {
    #[model(tag = "year")]
    pub year: String,
    pub last: u64,
}

impl Apply<InvoiceEvent> for Numbers {
    fn apply(&mut self, event: InvoiceEvent) {
        if let InvoiceIssued { number, .. } = event {
            self.last = number;
        }
    }
}

/// The invoice of an order, if it has one.
#[derive(Debug, DecisionModel)]
#[model(event = InvoiceEvent, types(InvoiceIssued))]
pub struct Invoiced {
    #[model(tag = "order")]
    pub order_id: String,
    pub invoice: Option<String>,
}

impl Apply<InvoiceEvent> for Invoiced {
    fn apply(&mut self, event: InvoiceEvent) {
        if let InvoiceIssued { year, number, .. } = event {
            self.invoice = Some(invoice_id(&year, number));
        }
    }
}

/// The order itself, which is all that is in its stream.
#[derive(Debug)]
pub struct Ordered {
    pub order_id: String,
    pub order: Order,
}

impl DecisionModel for Ordered {
    type Event = OrderEvent;

    fn query(&self) -> Result<Query, InvalidName> {
        let stream = StreamId::of(Order::CATEGORY, &self.order_id)?;
        let created = EventType::from_static("OrderCreated");
        Ok(Query::of(QueryItem::new().types([created]).stream(stream)))
    }
}

impl Apply<OrderEvent> for Ordered {
    fn apply(&mut self, event: OrderEvent) {
        self.order.apply(event);
    }
}

/// Writes the invoice for an order, in this year; nothing, when there is one.
#[derive(Clone, Debug)]
pub struct IssueInvoice {
    pub order_id: String,
    pub year: String,
}

impl Decision for IssueInvoice {
    type Model = (Ordered, Invoiced, Numbers);
    type Event = InvoiceEvent;
    type Error = InvoiceRefusal;

    fn model(&self) -> Self::Model {
        let ordered = Ordered { order_id: self.order_id.clone(), order: Order::default() };
        (ordered, Invoiced::of(&self.order_id), Numbers::of(&self.year))
    }

    fn decide(self, model: &Self::Model) -> Result<Vec<InvoiceEvent>, InvoiceRefusal> {
        let (Ordered { order, .. }, invoiced, numbers) = model;
        if order.items.is_empty() {
            return Err(NotFound);
        }
        if invoiced.invoice.is_some() {
            return Ok(vec![]);
        }
        Ok(vec![InvoiceIssued {
            year: self.year,
            number: numbers.last + 1,
            order_id: self.order_id,
            user_id: order.user_id.clone(),
            total: order.total,
        }])
    }

    fn stream(&self, event: &InvoiceEvent) -> Result<StreamId, InvalidName> {
        let InvoiceIssued { year, number, .. } = event else {
            unreachable!("it decides that an invoice is issued, and nothing else");
        };
        StreamId::of(Invoice::CATEGORY, invoice_id(year, *number))
    }
}

/// What an invoice is called: `2026-17`.
fn invoice_id(year: &str, number: u64) -> String {
    format!("{year}-{number}")
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Aggregate)]
#[aggregate(category = "invoice", event = InvoiceEvent)]
pub struct Invoice {
    pub order_id: String,
    pub user_id: String,
    pub total: u64,
    pub paid: u64,
    pub credited: u64,
}

impl Apply<InvoiceEvent> for Invoice {
    fn apply(&mut self, event: InvoiceEvent) {
        match event {
            InvoiceIssued { order_id, user_id, total, .. } => {
                *self = Self { order_id, user_id, total, ..Self::default() };
            }
            InvoicePaid { amount } => self.paid = self.paid.saturating_add(amount),
            InvoiceCredited { amount, .. } => self.credited = self.credited.saturating_add(amount),
        }
    }
}

impl Invoice {
    /// What is still to be paid.
    fn due(&self) -> u64 {
        self.total.saturating_sub(self.paid).saturating_sub(self.credited)
    }
}

/// Money has come in.
#[derive(Clone, Debug, Default, Deserialize, Validate)]
#[serde(default, deny_unknown_fields)]
pub struct Pay {
    #[serde(deserialize_with = "whole")]
    #[validate(range(min = 1, max = AMOUNT_MAX))]
    pub amount: u64,
}

/// Some of it is given back, or need not be paid.
#[derive(Clone, Debug, Default, Deserialize, Validate)]
#[serde(default, deny_unknown_fields)]
pub struct Credit {
    #[serde(deserialize_with = "whole")]
    #[validate(range(min = 1, max = AMOUNT_MAX))]
    pub amount: u64,
    #[validate(length(min = 1, max = 200, message = "say why, in 1 to 200 characters"))]
    pub reason: String,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvoiceRefusal {
    #[error("only {due} are due")]
    MoreThanDue { due: u64 },
    #[error("only {left} of it are not credited yet")]
    MoreThanInvoiced { left: u64 },
    #[error("there is no such order or invoice")]
    NotFound,
}
use InvoiceRefusal::{MoreThanDue, MoreThanInvoiced, NotFound};

impl Command<Invoice> for Pay {
    type Error = InvoiceRefusal;

    fn field_errors(&self) -> FieldErrors {
        FieldErrors::of(self)
    }

    fn decide(self, invoice: &Invoice) -> Result<Vec<InvoiceEvent>, InvoiceRefusal> {
        match invoice.due() {
            _ if invoice.order_id.is_empty() => Err(NotFound),
            due if self.amount > due => Err(MoreThanDue { due }),
            _ => Ok(vec![InvoicePaid { amount: self.amount }]),
        }
    }
}

impl Command<Invoice> for Credit {
    type Error = InvoiceRefusal;

    fn field_errors(&self) -> FieldErrors {
        FieldErrors::of(self)
    }

    fn decide(self, invoice: &Invoice) -> Result<Vec<InvoiceEvent>, InvoiceRefusal> {
        let Self { amount, reason } = self;
        match invoice.total.saturating_sub(invoice.credited) {
            _ if invoice.order_id.is_empty() => Err(NotFound),
            left if amount > left => Err(MoreThanInvoiced { left }),
            _ => Ok(vec![InvoiceCredited { amount, reason }]),
        }
    }
}
