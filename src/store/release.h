/*
 * release.h
 *	  Reading policy.releases and policy.snapshots, without SPI.
 */
#ifndef POLICY_RELEASE_H
#define POLICY_RELEASE_H

#include "access/genam.h"
#include "utils/rel.h"
#include "utils/snapshot.h"

#include "language/document.h"

/*
 * The newest release that snapshot sees (NULL: the newest committed, or made by
 * this transaction).  Returns false where there is none.  *name is a copy in
 * the current memory context, *xid the transaction that made it.
 */
extern bool release_newest(Snapshot snapshot, int64 *release_id, text **name,
						   TransactionId *xid);

/* The release_id of a row of policy.releases. */
extern int64 release_id_of(Relation relation, HeapTuple tuple);

/* An open look at one row of policy.snapshots. */
typedef struct SnapshotRow
{
	Relation	relation;
	Relation	index;			/* NULL: the table is read as a whole */
	SysScanDesc scan;
	HeapTuple	tuple;			/* NULL: there is none of that name */
} SnapshotRow;

extern void snapshot_open(text *name, Snapshot snapshot, SnapshotRow *row);

/* The digest that is stored beside the document; false where there is none. */
extern bool snapshot_digest(const SnapshotRow *row, uint8 *digest);

/*
 * The tree that is stored beside the document, and its digest; NULL where there is
 * none, or none of the digest that is stored.  In the current memory context, or the row.
 */
extern char *snapshot_tree(const SnapshotRow *row, uint8 *digest, int *len);

/* Maybe toasted: to be read before the row is closed. */
extern Datum snapshot_document(const SnapshotRow *row);

extern void snapshot_close(SnapshotRow *row);

#endif							/* POLICY_RELEASE_H */
