/*
 * canonical.h
 *	  The canonical text of a job, which hashes are of.
 */
#ifndef POLICY_CANONICAL_H
#define POLICY_CANONICAL_H

#include "lib/stringinfo.h"
#include "utils/jsonb.h"

/* Appends what jsonb's output function gives. */
extern void canonical_text(StringInfo text, Jsonb *job);

#endif							/* POLICY_CANONICAL_H */
