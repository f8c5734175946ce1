//! The same wishes as an operator's, on behalf of a client system.

use anyhow::Context;

use super::{
    Afar,
    told::{OTHER_VERSION, account, contact},
    written,
};
use crate::{cli::afar::refused, grpc::proto::countersign::admin::v1::manage_request::Wish};

impl Afar {
    /// Creates or changes an account or contact; says whether it was not so before, and what it is now, as JSON.
    pub(in crate::cli) async fn manage(&self, wish: Wish) -> anyhow::Result<(bool, String)> {
        let (mut service, actor) = (self.service.clone(), self.actor());
        macro_rules! ask {
            ($call:ident, $request:ident, $what:literal, $shown:ident) => {{
                let answer = service.$call(ask!(@of $request, actor)).await.map_err(refused)?.into_inner();
                written(answer.answer(), $what, &answer.field, &answer.decision_id)?;
                (answer.changed, serde_json::to_string(&$shown(answer.$shown.context(OTHER_VERSION)?)?)?)
            }};
            (@of $request:ident, $actor:ident) => {{
                let mut request = $request;
                request.actor = $actor;
                request
            }};
        }
        Ok(match wish {
            Wish::CreateContact(request) => ask!(create_contact, request, "account", contact),
            Wish::UpdateContact(request) => ask!(update_contact, request, "contact", contact),
            Wish::ReactivateContact(request) => ask!(reactivate_contact, request, "contact", contact),
            Wish::CreateAccount(request) => ask!(create_account, request, "account", account),
            Wish::UpdateAccount(request) => ask!(update_account, request, "account", account),
            Wish::TransferPrimaryAdmin(request) => {
                ask!(transfer_primary_admin, request, "account or contact", account)
            }
            Wish::ReportRerouting(request) => ask!(report_rerouting, request, "account", account),
        })
    }
}
