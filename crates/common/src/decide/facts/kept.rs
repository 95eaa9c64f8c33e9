//! Synced children: an object beside the pods that exists at most once and is kept up to date. It is created, changed
//! and deleted.

use crate::objects::{Child, ChildKind};
use crate::plan::Write;

use super::context::Context;
use super::deletes;

/// Writes that turn the existing children of `kind` into the wanted one. Digests are compared, since the stored object
/// differs from the sent one. If a child is being deleted, its deletion is awaited.
pub(crate) fn writes(ctx: &Context<'_>, kind: ChildKind, wanted: Option<Child>) -> Vec<Write> {
    let is_wanted = |name: &str| wanted.as_ref().is_some_and(|w| w.name() == name);
    let surplus = ctx
        .observed
        .standing(kind)
        .filter(|child| !is_wanted(&child.name));
    let mut writes: Vec<Write> = surplus.map(deletes::delete_child).collect();
    let mut of_kind = ctx.observed.children.iter().filter(|child| child.kind == kind);
    let there = of_kind.find(|child| is_wanted(&child.name));
    match (wanted, there) {
        (Some(wanted), None) => writes.push(Write::CreateChild(wanted)),
        (Some(to), Some(child)) if !child.deleting && child.digest.as_deref() != to.digest() => {
            let uid = child.uid.clone();
            writes.push(Write::ChangeChild { to, uid });
        }
        (_, _) => {}
    }
    writes
}
