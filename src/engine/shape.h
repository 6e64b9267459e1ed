/*
 * shape.h
 *	  Matches, ready for searches, and what has been found of their conditions.  For
 *	  engine/witness.c.
 */
#ifndef POLICY_SHAPE_H
#define POLICY_SHAPE_H

#include "engine/witness.h"

/* The patterns of a condition; one object for all conditions that are written alike. */
typedef struct ShapeLists
{
	int			id;				/* 1, 2, 3 ... of its shapes' conditions */
	SearchGlob *any;
	SearchGlob *all;
	SearchGlob *none;
	int			nany;
	int			nall;
	int			nnone;
} ShapeLists;

typedef struct ShapeLabel
{
	const PolicyLabelCondition *label;
	const char *name;			/* one pointer for each name of its shapes */
	ShapeLists *lists;
	bool		present;		/* no list at all: it must be there */
} ShapeLabel;

struct PolicyShape
{
	const PolicyMatch *match;
	PolicyShapes *shapes;
	ShapeLists *fields[POLICY_NFIELDS]; /* NULL: no condition */
	ShapeLabel *labels;
	bool		entangled;		/* a condition is about several places */
};

/* The MCP field that a label of this normalised name means as well, or -1. */
extern int	policy_shape_mcp_field(const char *name, int len);

/* What has been found of two conditions (a is NULL for none) on a field, or -1. */
extern int	policy_shapes_recall(const PolicyShapes *shapes, const ShapeLists *a,
								 const ShapeLists *b, int field);

/* Keeps it, in the place of something else. */
extern void policy_shapes_keep(PolicyShapes *shapes, const ShapeLists *a, const ShapeLists *b,
							   int field, PolicyFinding finding);

#endif							/* POLICY_SHAPE_H */
