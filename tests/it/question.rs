//! Questions as a person would put them, turned into requests.

use std::time::{Duration, SystemTime};

use countersign::{
    directory::sample,
    grpc::proto::countersign::v1::{
        AccountSelector, Attestation, AttributeValue, AuthorizeRequest, BatchAuthorizeRequest, BatchItem, Channel,
        ContactSelector, Evidence, Interaction, Passphrase, PassphraseEntry, PortalLogin, Resource, Subject,
        account_selector,
        attribute_value::{self, Value},
        contact_selector, evidence,
    },
    policy::{self, Action},
};

/// What is asked, about whom, and with what proof.
#[derive(Clone, Debug)]
pub struct Question(AuthorizeRequest);

/// A question about an action, on a channel, in an interaction of its own.
pub fn ask(channel: Channel, action: &str) -> Question {
    let id = format!("it-{}", uuid::Uuid::new_v4().simple());
    Question(AuthorizeRequest {
        interaction: Some(Interaction { channel: channel.into(), id, ..Interaction::default() }),
        action: action.to_owned(),
        ..AuthorizeRequest::default()
    })
}

impl Question {
    /// A question about an action of the bundle, with the resource that it wants.
    pub fn about(action: &Action, channel: Channel) -> Self {
        let question = ask(channel, &action.name);
        let Some(kind) = &action.resource_type else { return question };
        action.example.iter().fold(question.upon(kind, ""), |question, (name, value)| {
            question.with(
                name,
                match value {
                    policy::AttributeValue::Flag(flag) => Value::Flag(*flag),
                    policy::AttributeValue::Number(number) => Value::Number(*number),
                    policy::AttributeValue::Text(text) => Value::Text(text.clone()),
                },
            )
        })
    }

    /// By a contact of Acme.
    pub fn by(self, contact: &str) -> Self {
        self.by_contact_of(sample::ACME, contact)
    }

    pub fn by_contact_of(self, account: &str, contact: &str) -> Self {
        self.selecting(account_selector::By::Id(account.to_owned()), Some(contact_selector::By::Id(contact.to_owned())))
    }

    pub fn selecting(mut self, account: account_selector::By, contact: Option<contact_selector::By>) -> Self {
        self.0.subject = Some(Subject {
            account: Some(AccountSelector { by: Some(account) }),
            contact: contact.map(|by| ContactSelector { by: Some(by) }),
        });
        self
    }

    /// Who has just logged in to the portal.
    pub fn logged_in(self) -> Self {
        self.logged_in_at(SystemTime::now() - Duration::from_secs(5))
    }

    pub fn logged_in_at(self, time: SystemTime) -> Self {
        let login = PortalLogin { login_time: Some(time.into()), id_token: String::new() };
        self.showing(evidence::By::PortalLogin(login))
    }

    pub fn showing(mut self, by: evidence::By) -> Self {
        self.0.evidence = Some(Evidence { by: Some(by) });
        self
    }

    /// Who says this passphrase.
    pub fn saying(self, phrase: &str) -> Self {
        let entry = PassphraseEntry::Spoken.into();
        self.showing(evidence::By::Passphrase(Passphrase { transcripts: vec![phrase.to_owned()], entry }))
    }

    /// Who has this verification token.
    pub fn with_token(self, token: &str) -> Self {
        self.showing(evidence::By::VerificationToken(token.to_owned()))
    }

    /// From this number, as this carrier vouches for it.
    pub fn calling_from(mut self, number: &str, attestation: Option<Attestation>) -> Self {
        let interaction = self.0.interaction.get_or_insert_default();
        number.clone_into(&mut interaction.calling_number);
        interaction.attestation = attestation.map_or(0, Into::into);
        self
    }

    pub fn upon(mut self, kind: &str, id: &str) -> Self {
        let resource = self.0.resource.take().unwrap_or_default();
        self.0.resource = Some(Resource { r#type: kind.to_owned(), id: id.to_owned(), ..resource });
        self
    }

    pub fn at_site(mut self, site: &str) -> Self {
        self.0.resource.get_or_insert_default().site = site.to_owned();
        self
    }

    pub fn with(mut self, attribute: &str, value: attribute_value::Value) -> Self {
        let resource = self.0.resource.get_or_insert_default();
        resource.attributes.insert(attribute.to_owned(), AttributeValue { value: Some(value) });
        self
    }

    /// In this interaction instead of its own.
    pub fn within(mut self, interaction: &str) -> Self {
        self.0.interaction.get_or_insert_default().id = interaction.to_owned();
        self
    }

    pub fn having(mut self, change: impl FnOnce(&mut AuthorizeRequest)) -> Self {
        change(&mut self.0);
        self
    }

    /// The same person, with the same proof, asks about several actions.
    pub fn batch(self, actions: impl IntoIterator<Item = Self>) -> BatchAuthorizeRequest {
        let items =
            actions.into_iter().map(|question| BatchItem { action: question.0.action, resource: question.0.resource });
        BatchAuthorizeRequest {
            interaction: self.0.interaction,
            subject: self.0.subject,
            evidence: self.0.evidence,
            items: items.collect(),
            ..BatchAuthorizeRequest::default()
        }
    }
}

impl From<Question> for AuthorizeRequest {
    fn from(question: Question) -> Self {
        question.0
    }
}
