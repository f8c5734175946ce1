//! What is looked for in answers.

use countersign::grpc::proto::countersign::v1::{AuthorizeResponse, Decision, Reason};
use tonic::{Code, Status};
use tonic_types::StatusExt;

pub fn decided(response: &AuthorizeResponse) -> (Decision, Reason) {
    (response.decision(), response.reason())
}

pub fn is_allowed(response: &AuthorizeResponse) -> bool {
    response.decision() == Decision::Allow
}

/// The answer without what is different in every answer: ids and times.
pub fn blanked(mut response: AuthorizeResponse) -> AuthorizeResponse {
    assert!(!response.decision_id.is_empty());
    response.decision_id.clear();
    response.act_before = None;
    response
}

/// Status code, stable reason, and the field that it is about.
pub fn refusal(status: &Status) -> (Code, String, String) {
    let details = status.get_error_details();
    let info = details.error_info().expect("every error carries one ErrorInfo");
    assert_eq!(info.domain, "countersign");
    let field = details.bad_request().and_then(|bad| bad.field_violations.first());
    (status.code(), info.reason.clone(), field.map_or_else(String::new, |violation| violation.field.clone()))
}

/// Expects INVALID_ARGUMENT, and returns the field.
pub fn invalid_field<T: std::fmt::Debug>(result: Result<T, Status>) -> String {
    let (code, reason, field) = refusal(&result.unwrap_err());
    assert_eq!((code, reason.as_str()), (Code::InvalidArgument, "FIELD_INVALID"));
    field
}
