//! An object beside the pods that there is once at most, and that is kept as the job says: made, changed, taken away.

use crate::objects::{Child, ChildKind};
use crate::plan::Write;

use super::context::Context;
use super::deletes;

/// What makes the children of `kind` the one that is wanted. Digests are compared, since what is stored is not what was
/// sent; one that is on its way out is waited for.
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
