/*
 * toast.h
 *	  Parts of stored values, from where a table keeps what is too large for a row.
 */
#ifndef POLICY_TOAST_H
#define POLICY_TOAST_H

/* At most len bytes of a value from offset on, without its header, as a new varlena. */
extern struct varlena *policy_toast_slice(Datum value, Size offset, Size len);

#endif							/* POLICY_TOAST_H */
