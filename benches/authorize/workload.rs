//! What is asked.

use std::time::SystemTime;

use countersign::{directory::sample, grpc::proto::countersign::v1 as api};

#[derive(Clone, Copy)]
pub enum Workload {
    /// A general question: no proof, no role.
    General,
    /// A portal login in a case in which it was shown before.
    LoginAgain,
    /// A portal login as the first evidence of a case: the case is opened in the directory, durably.
    LoginFirst,
}

impl Workload {
    pub fn request(self) -> api::AuthorizeRequest {
        let id = match self {
            Self::General | Self::LoginAgain => "case-1".to_owned(),
            Self::LoginFirst => uuid::Uuid::new_v4().to_string(),
        };
        let interaction = api::Interaction { channel: api::Channel::Portal.into(), id, ..Default::default() };
        let question = api::AuthorizeRequest { interaction: Some(interaction), ..Default::default() };
        match self {
            Self::General => api::AuthorizeRequest { action: "general.ask".to_owned(), ..question },
            Self::LoginAgain | Self::LoginFirst => with_login(question),
        }
    }
}

fn with_login(question: api::AuthorizeRequest) -> api::AuthorizeRequest {
    let account = api::AccountSelector { by: Some(api::account_selector::By::Id(sample::ACME.to_owned())) };
    let contact = api::ContactSelector { by: Some(api::contact_selector::By::Id(sample::BEN.to_owned())) };
    let login = api::PortalLogin { login_time: Some(SystemTime::now().into()), id_token: String::new() };
    api::AuthorizeRequest {
        subject: Some(api::Subject { account: Some(account), contact: Some(contact) }),
        evidence: Some(api::Evidence { by: Some(api::evidence::By::PortalLogin(login)) }),
        action: "user.change".to_owned(),
        resource: Some(api::Resource { r#type: "user".to_owned(), id: "u-17".to_owned(), ..Default::default() }),
        ..question
    }
}
