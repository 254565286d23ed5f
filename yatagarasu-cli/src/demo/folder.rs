//! Lists the files of a folder as S3 lists objects.

use std::collections::BTreeMap;
use std::path::Path;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use s3s::dto::{CommonPrefix, ETag, ListObjectsV2Input, ListObjectsV2Output, Object, Timestamp};
use s3s::{S3Result, s3_error};

use super::located::{Located, locate};

/// Maximum number of files that are looked at for one page.
const FILES_MAX: usize = 20_000;

/// Maximum number of objects and folders on a page.
const KEYS_MAX: usize = 1000;

/// The objects, and the folders, which have no file.
type Items = BTreeMap<String, Option<Located>>;

/// Returns a page of the objects in `folder`, which is a canonical path. A page goes on after the last name of the page
/// before.
///
/// # Errors
///
/// Returns an error for a delimiter other than `/`, and for more than 20,000 files.
pub(super) async fn page(folder: &Path, input: ListObjectsV2Input) -> S3Result<ListObjectsV2Output> {
    let prefix = input.prefix.clone().unwrap_or_default();
    let in_folders = match input.delimiter.as_deref() {
        None | Some("") => false,
        Some("/") => true,
        Some(_) => return Err(s3_error!(NotImplemented, "the only delimiter is a slash")),
    };
    let mut items = items(folder, &prefix, in_folders).await?;
    if let Some(after) = &input.continuation_token {
        items.retain(|name, _| name > after);
    }
    let count = input.max_keys.and_then(|keys| usize::try_from(keys).ok()).unwrap_or(KEYS_MAX).min(KEYS_MAX);
    let names: Vec<_> = items.keys().take(count + 1).cloned().collect();
    let is_last = names.len() <= count;
    let (mut contents, mut common_prefixes) = (Vec::new(), Vec::new());
    let is_escaped = input.encoding_type.as_ref().is_some_and(|encoding| encoding.as_str() == "url");
    let form = |name: &str| {
        if is_escaped { utf8_percent_encode(name, NON_ALPHANUMERIC).to_string() } else { name.to_owned() }
    };
    for (name, file) in items.into_iter().take(count) {
        match file {
            None => common_prefixes.push(CommonPrefix { prefix: Some(form(&name)) }),
            Some(file) => contents.push(Object {
                key: Some(form(&name)),
                size: i64::try_from(file.length()).ok(),
                last_modified: Some(Timestamp::from(file.modified())),
                e_tag: Some(ETag::Strong(file.tag().to_owned())),
                ..Object::default()
            }),
        }
    }
    Ok(ListObjectsV2Output {
        is_truncated: Some(!is_last),
        next_continuation_token: names.into_iter().nth(count.wrapping_sub(1)).filter(|_| !is_last),
        encoding_type: input.encoding_type,
        name: Some(input.bucket),
        prefix: input.prefix,
        contents: Some(contents),
        common_prefixes: Some(common_prefixes),
        ..ListObjectsV2Output::default()
    })
}

/// Returns the objects that begin with `prefix`, or those of its folder and the folders in it.
async fn items(folder: &Path, prefix: &str, in_folders: bool) -> S3Result<Items> {
    let (mut items, mut seen) = (Items::new(), 0);
    let top = prefix.rfind('/').map_or("", |end| &prefix[..=end]);
    // Nothing is listed that could not be read.
    if top.split_terminator('/').any(|segment| matches!(segment, "" | "." | "..")) {
        return Ok(items);
    }
    let mut folders = vec![top.to_owned()];
    while let Some(path) = folders.pop() {
        let Ok(place) = tokio::fs::canonicalize(folder.join(&path)).await else { continue };
        if !place.starts_with(folder) {
            continue;
        }
        let Ok(mut entries) = tokio::fs::read_dir(place).await else { continue };
        while let Ok(Some(entry)) = entries.next_entry().await {
            seen += 1;
            if seen > FILES_MAX {
                return Err(s3_error!(NotImplemented, "there are more than 20,000 files"));
            }
            let Ok(name) = entry.file_name().into_string() else { continue };
            let key = format!("{path}{name}");
            let is_folder = entry.file_type().await.is_ok_and(|kind| kind.is_dir());
            match is_folder {
                true if in_folders && format!("{key}/").starts_with(prefix) => {
                    items.insert(format!("{key}/"), None);
                }
                true if !in_folders => folders.push(format!("{key}/")),
                false if key.starts_with(prefix) => {
                    items.extend(locate(folder, &key).await.map(|file| (key, Some(file))));
                }
                _ => {}
            }
        }
    }
    Ok(items)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    async fn names(folder: &Path, prefix: &str, in_folders: bool) -> Vec<String> {
        items(folder, prefix, in_folders).await.unwrap().into_keys().collect()
    }

    #[tokio::test]
    async fn what_can_be_read_is_listed_and_nothing_else() {
        let around = tempfile::tempdir().unwrap();
        let root = around.path().canonicalize().unwrap();
        let folder = root.join("folder");
        for sub in ["folder/a/b", "folder/c", "secret"] {
            fs::create_dir_all(root.join(sub)).unwrap();
        }
        for file in ["folder/x", "folder/a/y", "folder/a/b/z", "folder/ab", "secret/s"] {
            fs::write(root.join(file), "x").unwrap();
        }
        symlink(root.join("secret"), folder.join("out")).unwrap();
        symlink(root.join("secret/s"), folder.join("leak")).unwrap();
        symlink("x", folder.join("link")).unwrap();
        assert_eq!(names(&folder, "", true).await, ["a/", "ab", "c/", "link", "x"]);
        assert_eq!(names(&folder, "", false).await, ["a/b/z", "a/y", "ab", "link", "x"]);
        assert_eq!(names(&folder, "a", true).await, ["a/", "ab"]);
        assert_eq!(names(&folder, "a/", true).await, ["a/b/", "a/y"]);
        for prefix in ["out/", "../", "../secret/", "a/../", "none/", "/", "a//"] {
            assert!(names(&folder, prefix, true).await.is_empty(), "{prefix}");
        }
    }

    #[tokio::test]
    async fn pages_follow_each_other() {
        let around = tempfile::tempdir().unwrap();
        let folder = around.path().canonicalize().unwrap();
        for name in ["a", "b c", "d"] {
            fs::write(folder.join(name), name).unwrap();
        }
        let (mut found, mut token) = (Vec::new(), None);
        loop {
            let input = ListObjectsV2Input {
                max_keys: Some(2),
                continuation_token: token,
                ..ListObjectsV2Input::default()
            };
            let page = page(&folder, input).await.unwrap();
            found.extend(page.contents.unwrap().into_iter().map(|object| object.key.unwrap()));
            token = page.next_continuation_token;
            if token.is_none() {
                break;
            }
        }
        assert_eq!(found, ["a", "b c", "d"]);
    }
}
