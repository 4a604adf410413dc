/* SPDX-License-Identifier: Apache-2.0 */
/* Whether bytes are one well-formed CBOR item, and how large it becomes when it is decoded; nothing is decoded here.
 *
 * Shared references (tags 28 and 29) let 300 bytes stand for 2^60 items: a decoder makes few objects of them, but whatever
 * walks, hashes or prints the value has no end. So what they stand for is counted, and limited. Lengths that the bytes
 * cannot hold are found before a decoder makes room for them.
 *
 * The bytes may come in pieces: new, feed each piece, free. A walk needs no memory but for the sizes of what is shared.
 */
#ifndef SS_CBOR_H
#define SS_CBOR_H

#include <stdint.h>

/* Deeper than any decoder goes. */
#define SS_CBOR_DEPTH 1000
/* Items that the references of one value may stand for beside those that are there. */
#define SS_CBOR_ADDED (UINT64_C(1) << 20)

typedef struct ss_cbor ss_cbor;

/* A walk through `total` bytes. NULL if there is no heap. */
ss_cbor *ss_cbor_new(uint64_t total);
void ss_cbor_free(ss_cbor *walk);
/* SS_CORRUPT with the offset and the rule that is broken; bytes behind the item are not looked at. SS_NO_HEAP. */
int ss_cbor_feed(ss_cbor *walk, const uint8_t *bytes, uint64_t size);
/* Of all bytes: SS_CORRUPT as above, and where the item does not end; else 1 if the value contains itself, or 0. */
int ss_cbor_check(const uint8_t *bytes, uint64_t size);

#endif
