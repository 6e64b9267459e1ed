/*
 * compat.h
 *	  Every difference between PostgreSQL versions that the extension meets.
 *
 * PostgreSQL 14 to 18.  No other file tests PG_VERSION_NUM.
 */
#ifndef POLICY_COMPAT_H
#define POLICY_COMPAT_H

#if PG_VERSION_NUM < 140000
#error "policy_engine needs PostgreSQL 14 or later"
#endif

#if PG_VERSION_NUM >= 160000
#include "varatt.h"
#endif

/* PGPROC.lxid moved into a struct in 17. */
#if PG_VERSION_NUM >= 170000
#define policy_current_lxid() (MyProc->vxid.lxid)
#else
#define policy_current_lxid() (MyProc->lxid)
#endif

/* Reserving a prefix for settings got its name in 15. */
#if PG_VERSION_NUM < 150000
#define MarkGUCPrefixReserved(prefix) EmitWarningsOnPlaceholders(prefix)
#endif

/* What a function's declaration begins with that does not return; 18 renamed it. */
#if PG_VERSION_NUM >= 180000
#define POLICY_NORETURN pg_noreturn
#else
#define POLICY_NORETURN pg_attribute_noreturn()
#endif

/* Whether a role inherits was the member's in 15, and is the membership's from 16 on. */
#if PG_VERSION_NUM >= 160000
#define policy_membership_inherits(form) ((form)->inherit_option)
#else
#define POLICY_ROLE_INHERITS
#define policy_membership_inherits(form) policy_role_inherits((form)->member)
#endif

/* How a partition's columns differ from its parent's. */
#if PG_VERSION_NUM >= 160000
#define policy_partition_map(relinfo, estate) ExecGetRootToChildMap(relinfo, estate)
#define policy_insert_index_tuples(relinfo, slot, estate) \
	ExecInsertIndexTuples(relinfo, slot, estate, false, false, NULL, NIL, false)
#else
#define policy_partition_map(relinfo, estate) ((relinfo)->ri_RootToPartitionMap)
#define policy_insert_index_tuples(relinfo, slot, estate) \
	ExecInsertIndexTuples(relinfo, slot, estate, false, false, NULL, NIL)
#endif

/*
 * A block of shared memory with a name, for who needs no preloading: its init function
 * is called once, under a lock.  Before 17 it comes out of what the server has left.
 */
#if PG_VERSION_NUM >= 170000
#include "storage/dsm_registry.h"
#define policy_shared_block(name, size, init, found) GetNamedDSMSegment(name, size, init, found)
#else
#include "storage/lwlock.h"
#include "storage/shmem.h"
static inline void *
policy_shared_block(const char *name, Size size, void (*init) (void *), bool *found)
{
	void	   *block;

	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	block = ShmemInitStruct(name, size, found);
	if (!*found)
		init(block);
	LWLockRelease(AddinShmemInitLock);
	return block;
}
#endif

#endif							/* POLICY_COMPAT_H */
