//! How much of each field is taken. One table; a test compares it with the comments in `proto/`.

/// How much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Max {
    /// Of a text, in bytes of UTF-8.
    Bytes(usize),
    /// Of a list or map, in entries.
    Entries(usize),
}

/// The limit of one field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// The field, by its full protobuf name.
    pub field: &'static str,
    /// How much it takes.
    pub max: Max,
}

impl Limit {
    /// What is wrong with `length`, if it is too much.
    pub(super) fn exceeded_by(self, length: usize) -> Option<String> {
        match self.max {
            Max::Bytes(max) => (length > max).then(|| format!("longer than {max} bytes")),
            Max::Entries(max) => (length > max).then(|| format!("more than {max} entries")),
        }
    }
}

macro_rules! limits {
    ($($name:ident = $kind:ident($max:literal) of $field:literal;)+) => {
        $(pub(super) const $name: Limit =
            Limit { field: concat!("countersign.v1.", $field), max: Max::$kind($max) };)+

        /// Every limit.
        pub const LIMITS: &[Limit] = &[$($name),+];
    };
}

limits! {
    INTERACTION_ID = Bytes(128) of "Interaction.id";
    CALLING_NUMBER = Bytes(32) of "Interaction.calling_number";
    AGENT_ID = Bytes(128) of "Interaction.agent_id";
    ACCOUNT_ID = Bytes(64) of "AccountSelector.id";
    NUMBER_OF_RECORD = Bytes(32) of "AccountSelector.number_of_record";
    ACCOUNT_NAME = Bytes(200) of "AccountSelector.name";
    FIRST_NAME = Bytes(100) of "ContactName.first_name";
    LAST_NAME = Bytes(100) of "ContactName.last_name";
    CONTACT_ID = Bytes(64) of "ContactSelector.id";
    EMAIL = Bytes(254) of "ContactSelector.email";
    EXTENSION = Bytes(16) of "ContactSelector.extension";
    USER_ID = Bytes(128) of "ContactSelector.user_id";
    TRANSCRIPTS = Entries(3) of "Passphrase.transcripts";
    TRANSCRIPT = Bytes(256) of "Passphrase.transcripts";
    ID_TOKEN = Bytes(16384) of "PortalLogin.id_token";
    VERIFICATION_TOKEN = Bytes(2048) of "Evidence.verification_token";
    ATTRIBUTE_TEXT = Bytes(256) of "AttributeValue.text";
    RESOURCE_TYPE = Bytes(64) of "Resource.type";
    RESOURCE_ID = Bytes(200) of "Resource.id";
    RESOURCE_SITE = Bytes(64) of "Resource.site";
    ATTRIBUTES = Entries(32) of "Resource.attributes";
    APPROVED_ESCALATION_ID = Bytes(64) of "AuthorizeRequest.approved_escalation_id";
    ACTION = Bytes(64) of "AuthorizeRequest.action";
    LOCALE = Bytes(35) of "AuthorizeRequest.locale";
    REQUEST_ID = Bytes(128) of "AuthorizeRequest.request_id";
    ITEM_ACTION = Bytes(64) of "BatchItem.action";
    ITEMS = Entries(50) of "BatchAuthorizeRequest.items";
    BATCH_LOCALE = Bytes(35) of "BatchAuthorizeRequest.locale";
    BATCH_REQUEST_ID = Bytes(128) of "BatchAuthorizeRequest.request_id";
    END_INTERACTION_ID = Bytes(128) of "EndInteractionRequest.interaction_id";
    END_VERIFICATION_TOKEN = Bytes(2048) of "EndInteractionRequest.verification_token";
    END_REQUEST_ID = Bytes(128) of "EndInteractionRequest.request_id";
    DELIVERY_DECISION_ID = Bytes(64) of "ReadDeliveryRequest.decision_id";
    DELIVERY_REQUEST_ID = Bytes(128) of "ReadDeliveryRequest.request_id";
    GET_ESCALATION_ID = Bytes(64) of "GetEscalationRequest.escalation_id";
    GET_ESCALATION_REQUEST_ID = Bytes(128) of "GetEscalationRequest.request_id";
    LIST_ESCALATIONS_PAGE_TOKEN = Bytes(128) of "ListEscalationsRequest.page_token";
    LIST_ESCALATIONS_ACCOUNT = Bytes(64) of "ListEscalationsRequest.account_id";
    LIST_ESCALATIONS_REQUEST_ID = Bytes(128) of "ListEscalationsRequest.request_id";
    WATCH_ESCALATIONS_REQUEST_ID = Bytes(128) of "WatchEscalationsRequest.request_id";
    APPROVE_ESCALATION_ID = Bytes(64) of "ApproveEscalationRequest.escalation_id";
    APPROVE_ESCALATION_REQUEST_ID = Bytes(128) of "ApproveEscalationRequest.request_id";
    REFUSE_ESCALATION_ID = Bytes(64) of "RefuseEscalationRequest.escalation_id";
    REFUSE_ESCALATION_REQUEST_ID = Bytes(128) of "RefuseEscalationRequest.request_id";
    CANCEL_ESCALATION_ID = Bytes(64) of "CancelEscalationRequest.escalation_id";
    CANCEL_ESCALATION_REQUEST_ID = Bytes(128) of "CancelEscalationRequest.request_id";
    SET_PASSPHRASE = Bytes(256) of "SetPassphraseRequest.passphrase";
    SET_PASSPHRASE_REQUEST_ID = Bytes(128) of "SetPassphraseRequest.request_id";
    CLEAR_PASSPHRASE_REQUEST_ID = Bytes(128) of "ClearPassphraseRequest.request_id";
    SUGGEST_PASSPHRASE_REQUEST_ID = Bytes(128) of "SuggestPassphraseRequest.request_id";
    PASSPHRASE_STATUS_REQUEST_ID = Bytes(128) of "GetPassphraseStatusRequest.request_id";
    PASSPHRASE_STATUS_ACCOUNT = Bytes(64) of "GetPassphraseStatusRequest.account_id";
    PASSPHRASE_STATUS_CONTACT = Bytes(64) of "GetPassphraseStatusRequest.contact_id";
    REOPEN_PASSPHRASE_REQUEST_ID = Bytes(128) of "ReopenPassphraseRequest.request_id";
    START_RESET_REQUEST_ID = Bytes(128) of "StartResetRequest.request_id";
    COMPLETE_RESET_ID = Bytes(64) of "CompleteResetRequest.reset_id";
    COMPLETE_RESET_CODE = Bytes(32) of "CompleteResetRequest.code";
    COMPLETE_RESET_PASSPHRASE = Bytes(256) of "CompleteResetRequest.passphrase";
    COMPLETE_RESET_REQUEST_ID = Bytes(128) of "CompleteResetRequest.request_id";
    READ_RESET_ID = Bytes(64) of "ReadResetRequest.reset_id";
    READ_RESET_REQUEST_ID = Bytes(128) of "ReadResetRequest.request_id";
    UNLOCK_CONTACT_ID = Bytes(64) of "UnlockPassphraseRequest.contact_id";
    UNLOCK_REQUEST_ID = Bytes(128) of "UnlockPassphraseRequest.request_id";
    SYSTEM_NAME = Bytes(64) of "SystemActor.name";
    GET_ACCOUNT_ID = Bytes(64) of "GetAccountRequest.account_id";
    GET_ACCOUNT_REQUEST_ID = Bytes(128) of "GetAccountRequest.request_id";
    LIST_ACCOUNTS_PAGE_TOKEN = Bytes(128) of "ListAccountsRequest.page_token";
    LIST_ACCOUNTS_REQUEST_ID = Bytes(128) of "ListAccountsRequest.request_id";
    GET_CONTACT_ID = Bytes(64) of "GetContactRequest.contact_id";
    GET_CONTACT_REQUEST_ID = Bytes(128) of "GetContactRequest.request_id";
    FILTER_ROLE = Bytes(64) of "ContactFilter.role";
    FILTER_TEXT = Bytes(100) of "ContactFilter.text";
    LIST_CONTACTS_ACCOUNT = Bytes(64) of "ListContactsRequest.account_id";
    LIST_CONTACTS_PAGE_TOKEN = Bytes(128) of "ListContactsRequest.page_token";
    LIST_CONTACTS_REQUEST_ID = Bytes(128) of "ListContactsRequest.request_id";
    REVIEW_ACCOUNT_ID = Bytes(64) of "ReviewAccountRequest.account_id";
    REVIEW_ACCOUNT_REQUEST_ID = Bytes(128) of "ReviewAccountRequest.request_id";
    PROFILE_FIRST_NAME = Bytes(100) of "ContactProfile.first_name";
    PROFILE_LAST_NAME = Bytes(100) of "ContactProfile.last_name";
    PROFILE_EMAIL = Bytes(254) of "ContactProfile.email";
    PROFILE_EXTENSION = Bytes(16) of "ContactProfile.extension";
    PROFILE_USER_ID = Bytes(128) of "ContactProfile.user_id";
    CREATE_CONTACT_ACCOUNT = Bytes(64) of "CreateContactRequest.account_id";
    CREATE_CONTACT_ID = Bytes(64) of "CreateContactRequest.contact_id";
    CREATE_CONTACT_REQUEST_ID = Bytes(128) of "CreateContactRequest.request_id";
    UPDATE_CONTACT_ID = Bytes(64) of "UpdateContactRequest.contact_id";
    UPDATE_CONTACT_ETAG = Bytes(64) of "UpdateContactRequest.etag";
    UPDATE_CONTACT_REQUEST_ID = Bytes(128) of "UpdateContactRequest.request_id";
    DEACTIVATE_CONTACT_ID = Bytes(64) of "DeactivateContactRequest.contact_id";
    DEACTIVATE_CONTACT_ETAG = Bytes(64) of "DeactivateContactRequest.etag";
    DEACTIVATE_CONTACT_REQUEST_ID = Bytes(128) of "DeactivateContactRequest.request_id";
    REACTIVATE_CONTACT_ID = Bytes(64) of "ReactivateContactRequest.contact_id";
    REACTIVATE_CONTACT_ETAG = Bytes(64) of "ReactivateContactRequest.etag";
    REACTIVATE_CONTACT_REQUEST_ID = Bytes(128) of "ReactivateContactRequest.request_id";
    ASSIGN_ROLE_ID = Bytes(64) of "AssignRoleRequest.contact_id";
    ASSIGN_ROLE_ROLE = Bytes(64) of "AssignRoleRequest.role";
    ASSIGN_ROLE_SITE = Bytes(64) of "AssignRoleRequest.site_id";
    ASSIGN_ROLE_ETAG = Bytes(64) of "AssignRoleRequest.etag";
    ASSIGN_ROLE_REQUEST_ID = Bytes(128) of "AssignRoleRequest.request_id";
    REVOKE_ROLE_ID = Bytes(64) of "RevokeRoleRequest.contact_id";
    REVOKE_ROLE_ROLE = Bytes(64) of "RevokeRoleRequest.role";
    REVOKE_ROLE_SITE = Bytes(64) of "RevokeRoleRequest.site_id";
    REVOKE_ROLE_ETAG = Bytes(64) of "RevokeRoleRequest.etag";
    REVOKE_ROLE_REQUEST_ID = Bytes(128) of "RevokeRoleRequest.request_id";
    TRANSFER_ACCOUNT = Bytes(64) of "TransferPrimaryAdminRequest.account_id";
    TRANSFER_CONTACT = Bytes(64) of "TransferPrimaryAdminRequest.contact_id";
    TRANSFER_ETAG = Bytes(64) of "TransferPrimaryAdminRequest.etag";
    TRANSFER_REQUEST_ID = Bytes(128) of "TransferPrimaryAdminRequest.request_id";
    POSTAL_ADDRESS = Bytes(500) of "AddressOfRecord.postal_address";
    EMAIL_ADDRESS = Bytes(500) of "AddressOfRecord.email_address";
    SITE_ID = Bytes(64) of "Site.id";
    SITE_NAME = Bytes(200) of "Site.name";
    PROFILE_NAME = Bytes(200) of "AccountProfile.name";
    PROFILE_NUMBERS = Entries(1000) of "AccountProfile.numbers_of_record";
    PROFILE_NUMBER = Bytes(16) of "AccountProfile.numbers_of_record";
    PROFILE_ADDRESSES = Entries(100) of "AccountProfile.addresses_of_record";
    PROFILE_SITES = Entries(100) of "AccountProfile.sites";
    CREATE_ACCOUNT_ID = Bytes(64) of "CreateAccountRequest.account_id";
    CREATE_ACCOUNT_REQUEST_ID = Bytes(128) of "CreateAccountRequest.request_id";
    UPDATE_ACCOUNT_ID = Bytes(64) of "UpdateAccountRequest.account_id";
    UPDATE_ACCOUNT_ETAG = Bytes(64) of "UpdateAccountRequest.etag";
    UPDATE_ACCOUNT_REQUEST_ID = Bytes(128) of "UpdateAccountRequest.request_id";
    DEACTIVATE_ACCOUNT_ID = Bytes(64) of "DeactivateAccountRequest.account_id";
    DEACTIVATE_ACCOUNT_ETAG = Bytes(64) of "DeactivateAccountRequest.etag";
    DEACTIVATE_ACCOUNT_REQUEST_ID = Bytes(128) of "DeactivateAccountRequest.request_id";
    DEACTIVATE_SITE_ACCOUNT = Bytes(64) of "DeactivateSiteRequest.account_id";
    DEACTIVATE_SITE_ID = Bytes(64) of "DeactivateSiteRequest.site_id";
    DEACTIVATE_SITE_ETAG = Bytes(64) of "DeactivateSiteRequest.etag";
    DEACTIVATE_SITE_REQUEST_ID = Bytes(128) of "DeactivateSiteRequest.request_id";
    NUMBER_LOCK_ACCOUNT = Bytes(64) of "SetNumberLockRequest.account_id";
    NUMBER_LOCK_ETAG = Bytes(64) of "SetNumberLockRequest.etag";
    NUMBER_LOCK_REQUEST_ID = Bytes(128) of "SetNumberLockRequest.request_id";
    REROUTING_ACCOUNT = Bytes(64) of "ReportReroutingRequest.account_id";
    REROUTING_NUMBER = Bytes(16) of "ReportReroutingRequest.number";
    REROUTING_POSTAL_ADDRESS = Bytes(500) of "ReportReroutingRequest.postal_address";
    REROUTING_EMAIL_ADDRESS = Bytes(500) of "ReportReroutingRequest.email_address";
    REROUTING_SINCE = Bytes(10) of "ReportReroutingRequest.since";
    REROUTING_ETAG = Bytes(64) of "ReportReroutingRequest.etag";
    REROUTING_REQUEST_ID = Bytes(128) of "ReportReroutingRequest.request_id";
}
