/* header.h - the first two fields of every record, for lib/trust. */
#ifndef AVOW_TRUST_HEADER_H
#define AVOW_TRUST_HEADER_H

#include "avow/trust/bundle.h"

/* As avow_trust_check_header, with the fleet given: state needs no bundle. */
enum avow_rc avow_header_check(const uint8_t expected_fleet[16], const uint8_t fleet[16],
                               struct avow_str record_key, struct avow_bytes kafka_key,
                               struct avow_err *err) AVOW_MUST_CHECK;

#endif
