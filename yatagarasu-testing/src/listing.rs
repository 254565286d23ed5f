//! The pages of a list, as S3 makes them.

use yatagarasu_core::source::list::{ListPage, Listed, Listing};

/// What a page consists of.
enum Item {
    Object(Listed),
    Folder(String),
}

/// Returns a page of all objects, or `None` for a continuation of another source. The continuation is the last key or folder of the page before, with a sign that shows
/// whether it is passed on as it is.
pub(crate) fn page_of(mut objects: Vec<Listed>, listing: &Listing) -> Option<ListPage> {
    objects.sort_by(|one, other| one.key.cmp(&other.key));
    let after = match &listing.continuation {
        Some(continuation) => Some(continuation.strip_prefix("after &")?.to_owned()),
        None => None,
    };
    let mut items: Vec<(String, Item)> = Vec::new();
    for object in objects.into_iter().filter(|object| object.key.starts_with(&listing.prefix)) {
        let rest = &object.key[listing.prefix.len()..];
        let folder = listing.delimiter.as_ref().and_then(|delimiter| {
            let end = rest.find(delimiter.as_str())? + delimiter.len();
            Some(object.key[..listing.prefix.len() + end].to_owned())
        });
        match folder {
            Some(folder) if items.last().is_some_and(|(name, _)| *name == folder) => {}
            Some(folder) => items.push((folder.clone(), Item::Folder(folder))),
            None => items.push((object.key.clone(), Item::Object(object))),
        }
    }
    items.retain(|(name, _)| after.as_ref().is_none_or(|after| name > after));
    let rest = items.split_off(items.len().min(listing.keys_max.into()));
    let next = items.last().filter(|_| !rest.is_empty()).map(|(name, _)| format!("after &{name}"));
    let mut page = ListPage { next, ..ListPage::default() };
    for (_, item) in items {
        match item {
            Item::Object(object) => page.objects.push(object),
            Item::Folder(folder) => page.folders.push(folder),
        }
    }
    Some(page)
}
