"""Which sites lie below a grid node, and for which sites something decided for a node holds."""

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, Row, select

from store.tables import GridNode, SiteGrid, table_of

NODE = table_of(GridNode)
LINK = table_of(SiteGrid)


def sites_below(connection: Connection) -> dict[int, frozenset[int]]:
    """The sites that hang on each grid node or on a node under it."""
    parents: dict[int, int | None] = dict(
        connection.execute(select(NODE.c.id, NODE.c.parent_id)).all()
    )
    found: dict[int, set[int]] = defaultdict(set)
    for site, at in connection.execute(select(LINK.c.site_id, LINK.c.node_id)).all():
        node: int | None = at
        while node is not None:
            found[node].add(site)
            node = parents[node]
    return {node: frozenset(sites) for node, sites in found.items()}


def holds_for(
    row: Row[*tuple[Any, ...]], site_id: int, below: Mapping[int, frozenset[int]]
) -> bool:
    """Whether a row with `site_id` and `node_id` is about this site; with neither, about all."""
    if row.site_id is not None:
        return bool(row.site_id == site_id)
    return row.node_id is None or site_id in below.get(row.node_id, frozenset())
