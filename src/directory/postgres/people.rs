//! Contacts that are looked for.

use async_trait::async_trait;

use super::{Store, list::listed, standing::contact_columns, transaction::Reading};
use crate::directory::{
    ContactId, DirectoryError, Listed, RoleName,
    people::{PeopleStore, Search},
};

#[async_trait]
impl PeopleStore for Store {
    async fn search_contacts(&self, search: &Search) -> Result<Vec<Listed>, DirectoryError> {
        let (store, search) = (self.clone(), search.clone());
        self.run(async move {
            let mut reading = store.reading().await?;
            let done = find(&mut reading, &search).await;
            reading.end(done).await
        })
        .await
    }
}

async fn find(reading: &mut Reading, search: &Search) -> Result<Vec<Listed>, DirectoryError> {
    let find = sqlx::query(concat!(
        "SELECT ",
        contact_columns!(),
        " FROM countersign.contact p WHERE p.account = $1 AND p.id > $2
              AND ($3::text = '' OR p.status = $3::text)
              AND ($4::text = '' OR EXISTS
                   (SELECT FROM countersign.role_assignment q WHERE q.contact = p.id AND q.role = $4::text))
              AND ($5::text = '' OR strpos(p.first_folded || ' ' || p.last_folded, $5::text) > 0
                   OR strpos(p.email_folded, $5::text) > 0 OR strpos(p.extension, $5::text) > 0
                   OR strpos(p.user_id_folded, $5::text) > 0)
          ORDER BY p.id LIMIT $6"
    ));
    let find = find.bind(search.account.as_str()).bind(search.after.as_ref().map_or("", ContactId::as_str));
    let find = find.bind(search.status_code()).bind(search.role.as_ref().map_or("", RoleName::as_str));
    let rows = reading.rows(find.bind(search.folded_text()).bind(i64::from(search.limit))).await?;
    rows.iter().map(listed).collect()
}
