/* SPDX-License-Identifier: Apache-2.0 */
/* Orders of encoded keys whose type is perhaps not known, and what encodings must be. */
#ifndef SS_SURVEY_ORDER_H
#define SS_SURVEY_ORDER_H

#include "structures/survey.h"

/* Whether key `a` comes before key `b`; not where either cannot be taken apart. */
bool ss_seen_ascends(int order, const ss_order *terms, const uint8_t *a, uint64_t a_size, const uint8_t *b, uint64_t b_size);
/* Whether these bytes are what enum ss_seen_encoding says. */
bool ss_seen_is_encoded(int encoding, const uint8_t *bytes, uint64_t size);
bool ss_seen_is_utf8(const uint8_t *bytes, uint64_t size);

#endif
