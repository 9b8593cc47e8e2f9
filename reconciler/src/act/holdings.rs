//! The host's holdings, and the leftovers of no VM's.

use std::sync::Arc;

use banger_core::inventory::{Holdings, Leftover};
use banger_core::seam::StepError;

use super::shared::Shared;
use super::{failure, files, trash_list};
use crate::image;
use crate::observe::holdings::FileHoldings;
use crate::observe::look_alikes::{self, Trees};

impl Shared {
    pub(super) async fn holdings(self: &Arc<Self>) -> Holdings {
        let layout = self.layout.clone();
        let (inventory, files) = tokio::join!(
            self.helper.inventory(),
            tokio::task::spawn_blocking(move || FileHoldings::read(&layout)),
        );
        let inventory = inventory.map_err(|error| match error.remedy() {
            Some(remedy) => format!("{}: {remedy}", error.chain()),
            None => error.chain(),
        });
        let files = files.unwrap_or_else(|error| FileHoldings {
            directories: Err(error.to_string()),
            staging: Err(error.to_string()),
            images: Err(error.to_string()),
        });
        // After the VMs' directories: see `Holdings::trash`. Not the list that
        // is kept of it: what a person put there by hand counts as well.
        let shared = Arc::clone(self);
        let read = move || {
            shared.trash.refuse_missing(&shared.layout, false)?;
            trash_list::list(&shared.layout)
        };
        let trash = tokio::task::spawn_blocking(read).await;
        let look_alikes = match inventory.clone() {
            Ok(inventory) => {
                let state = self.layout.state().to_owned();
                let read = move || look_alikes::read(&Trees::host(), &inventory, &state);
                let read = tokio::task::spawn_blocking(read).await;
                read.unwrap_or_else(|error| Err(error.to_string()))
            }
            Err(_) => Err("without the inventory nobody can tell which are ours".into()),
        };
        Holdings {
            inventory,
            directories: files.directories,
            staging: files.staging,
            look_alikes,
            images: files.images,
            trash: match trash {
                Ok(entries) => entries.map(Arc::new).map_err(|error| error.message),
                Err(error) => Err(error.to_string()),
            },
        }
    }

    pub(super) async fn remove_leftover(&self, leftover: &Leftover) -> Result<(), StepError> {
        let layout = self.layout.clone();
        match leftover.clone() {
            Leftover::Staging(name) => {
                failure::blocking(move || {
                    let images = layout.images();
                    image::remove_abandoned(&images, &name)
                        .map_err(|error| failure::file("remove", &images.join(&name), error))
                })
                .await
            }
            Leftover::Scratch(uid) => {
                failure::blocking(move || {
                    let path = layout.handles(uid);
                    files::remove(&path).map_err(|error| failure::file("remove", &path, error))
                })
                .await
            }
        }
    }
}
