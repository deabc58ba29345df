"""The registry: who and what there is, from a YAML file into the ledger (contract section 7).

`read_registry(path)` makes a `Document`, `apply` checks it whole, compares it with the ledger and
writes the difference in one transaction.
"""

from store.registry.applying import Report, apply, examine, retire_device
from store.registry.changes import Action, Change, Changes
from store.registry.document import Document
from store.registry.held import Holding, Key, Kind, load_holding
from store.registry.nodes import Problem, RegistryRefused
from store.registry.reading import read_document, read_registry

__all__ = [
    "Action",
    "Change",
    "Changes",
    "Document",
    "Holding",
    "Key",
    "Kind",
    "Problem",
    "RegistryRefused",
    "Report",
    "apply",
    "examine",
    "load_holding",
    "read_document",
    "read_registry",
    "retire_device",
]
