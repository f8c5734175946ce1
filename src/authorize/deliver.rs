//! Tells the delivering system where a delivery to the record goes (F3, A18): the other half of an ALLOW that told the
//! caller nothing.

use std::{sync::Arc, time::Duration};

use tokio::sync::OwnedSemaphorePermit;

use super::{Authorizer, Undecided};
use crate::{
    audit::{AuditReceipt, Record, ended, record::DeliveryReadRecord},
    client::ClientSystem,
    directory::Delivery,
};

/// The question where a delivery goes.
pub struct ReadDelivery {
    /// Who asks.
    pub client: Arc<ClientSystem>,
    /// The decision that allowed the delivery.
    pub decision_id: String,
    /// Correlates log lines and audit records.
    pub request_id: String,
    /// When the call arrived, on the monotonic clock.
    pub arrived: Duration,
    /// Its place among the calls that run at the same time; `None`: it is not counted.
    pub place: Option<OwnedSemaphorePermit>,
}

/// The answer, which is recorded as a disclosure.
#[derive(Debug)]
pub struct DeliveryRead {
    delivery: Option<Delivery>,
    _receipt: AuditReceipt,
}

impl DeliveryRead {
    /// Where it goes; `None`: nothing is to be delivered.
    #[must_use]
    pub fn delivery(&self) -> Option<&Delivery> {
        self.delivery.as_ref()
    }
}

impl Authorizer {
    /// Where a delivery goes. Reading changes nothing: a delivering system that failed may ask again. Runs as a task of its
    /// own.
    ///
    /// # Errors
    /// [`Undecided`], when the directory or the audit cannot be asked.
    pub async fn read_delivery(self: &Arc<Self>, mut asked: ReadDelivery) -> Result<DeliveryRead, Undecided> {
        let this = Arc::clone(self);
        let task = tokio::spawn(async move {
            let _place = asked.place.take();
            let delivery = this.directory.find_delivery(&asked.decision_id, this.clock.now()).await?;
            let targets = delivery.as_ref().map_or(0, |due| due.addresses.len() + due.numbers.len());
            let record = Record::DeliveryRead(DeliveryReadRecord {
                client: asked.client.name.clone(),
                request_id: asked.request_id,
                delivery: asked.decision_id,
                account: delivery.as_ref().map(|due| due.account.clone()),
                targets: u64::try_from(targets).unwrap_or(u64::MAX),
                took_us: this.took_us(asked.arrived),
            });
            Ok(DeliveryRead { delivery, _receipt: this.trail.record(record).await? })
        });
        ended(task).await
    }
}
