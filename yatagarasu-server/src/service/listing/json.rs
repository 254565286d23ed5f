//! A listing for programs.

use serde_json::json;

use crate::service::listing::Page;

/// Returns the document. It names objects and folders without the folder's own path.
pub(super) fn render(page: &Page<'_>) -> String {
    let name = |key: &str| key[page.prefix.len()..].to_owned();
    let objects = page.list.objects.iter().filter(|object| object.key != page.prefix).map(|object| {
        json!({
            "name": name(&object.key),
            "size": object.size,
            "modified": object.modified.map(super::html::date),
            "etag": object.etag,
        })
    });
    let folders = page.list.folders.iter().map(|folder| name(folder));
    let path: String = page.way.iter().flat_map(|name| [*name, "/"]).collect();
    let document = json!({
        "path": path,
        "folders": folders.collect::<Vec<_>>(),
        "objects": objects.collect::<Vec<_>>(),
        "continuation": page.list.next,
    });
    format!("{document}\n")
}
