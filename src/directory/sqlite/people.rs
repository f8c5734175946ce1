//! Contacts that are looked for.

use async_trait::async_trait;

use super::{Store, list, transaction::ReadTransaction};
use crate::directory::{
    ContactId, DirectoryError, Listed, RoleName,
    people::{PeopleStore, Search},
};

#[async_trait]
impl PeopleStore for Store {
    async fn search_contacts(&self, search: &Search) -> Result<Vec<Listed>, DirectoryError> {
        let search = search.clone();
        self.read(move |snapshot| find(snapshot, &search)).await
    }
}

fn find(snapshot: &ReadTransaction<'_>, search: &Search) -> Result<Vec<Listed>, DirectoryError> {
    let page: Vec<String> = snapshot.rows(
        "SELECT id FROM contact p WHERE account = ?1 AND id > ?2
             AND (?3 = '' OR status = ?3)
             AND (?4 = '' OR EXISTS (SELECT 1 FROM role_assignment r WHERE r.contact = p.id AND r.role = ?4))
             AND (?5 = '' OR instr(first_folded || ' ' || last_folded, ?5) > 0 OR instr(email_folded, ?5) > 0
                  OR instr(extension, ?5) > 0 OR instr(user_id_folded, ?5) > 0)
         ORDER BY id LIMIT ?6",
        (
            search.account.as_str(),
            search.after.as_ref().map_or("", ContactId::as_str),
            search.status_code(),
            search.role.as_ref().map_or("", RoleName::as_str),
            search.folded_text(),
            search.limit,
        ),
        |row| row.get(0),
    )?;
    page.into_iter().filter_map(|id| list::listed(snapshot, &ContactId::new(id)).transpose()).collect()
}
