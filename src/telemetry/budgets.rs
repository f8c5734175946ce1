//! A store of budgets that counts the alarms which its attempts raise.

use std::sync::Arc;

use async_trait::async_trait;

use super::metrics::Metrics;
use crate::throttle::{Attempt, Budgets, Outcome, Reservation, ThrottleError};

/// Asks another store, and counts.
pub struct CountedBudgets<B> {
    /// Where the windows are.
    pub inner: B,
    /// Where alarms are counted.
    pub metrics: Arc<Metrics>,
}

#[async_trait]
impl<B: Budgets> Budgets for CountedBudgets<B> {
    async fn reserve(&self, attempt: &Attempt) -> Result<Reservation, ThrottleError> {
        let reservation = self.inner.reserve(attempt).await?;
        reservation.raised().iter().for_each(|alarm| self.metrics.alarmed(*alarm));
        Ok(reservation)
    }

    async fn settle(&self, attempt: &Attempt, outcome: Outcome) -> Result<(), ThrottleError> {
        self.inner.settle(attempt, outcome).await
    }
}
