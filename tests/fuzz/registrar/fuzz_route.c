/* Paths: whatever is taken as an id is a piece of the path without a slash. */
#include "http_routes.h"

#include <assert.h>
#include <string.h>

#include "avow/base/banned.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct avow_str path = {(const char *)data, size};
    struct avow_route_match m = avow_route_parse(path);
    bool has_id = m.route == AVOW_ROUTE_AGENT || m.route == AVOW_ROUTE_ACTIVATE;
    if (has_id) {
        assert(m.id.len > 0 && m.minor <= AVOW_API_MINOR_MAX);
        assert(m.id.ptr > path.ptr && m.id.ptr + m.id.len <= path.ptr + path.len);
        assert(!memchr(m.id.ptr, '/', m.id.len) && m.id.ptr[-1] == '/');
    }
    /* A trailing slash never changes the route. */
    if (m.route != AVOW_ROUTE_NONE && size && path.ptr[size - 1] == '/') {
        struct avow_route_match other = avow_route_parse((struct avow_str){path.ptr, size - 1});
        assert(other.route == m.route && avow_str_eq(other.id, m.id));
    }
    return 0;
}
