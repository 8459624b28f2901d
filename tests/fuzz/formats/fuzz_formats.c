/* fuzz_formats.c - the parsers of foreign formats, one per build: PARSER names it. Oracle: success
 * or the output is untouched, and what is borrowed lies within the input. */
#include "avow/formats/certify.h"
#include "avow/formats/efi_siglist.h"
#include "avow/formats/ima_keyring.h"
#include "avow/formats/ima_list.h"
#include "avow/formats/policy_text.h"
#include "avow/formats/quote.h"
#include "avow/formats/tpm_public.h"

#include <stdlib.h>
#include <string.h>

#include "avow/base/banned.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CHECK(x)                                                                                   \
    do {                                                                                           \
        if (!(x))                                                                                  \
            abort();                                                                               \
    } while (0)

static void within(struct avow_bytes in, struct avow_bytes part)
{
    CHECK(!part.len || (part.ptr >= in.ptr && part.ptr + part.len <= in.ptr + in.len));
}

void fuzz_tpm_public(struct avow_bytes in);
void fuzz_certify(struct avow_bytes in);
void fuzz_quote(struct avow_bytes in);
void fuzz_tpm_signature(struct avow_bytes in);
void fuzz_ima_list(struct avow_bytes in);
void fuzz_ima_text(struct avow_bytes in);
void fuzz_ima_keyring(struct avow_bytes in);
void fuzz_policy_text(struct avow_bytes in);
void fuzz_efi_siglist(struct avow_bytes in);

void fuzz_tpm_public(struct avow_bytes in)
{
    struct avow_tpm_public p = {.type = 0xFFFF};
    if (avow_tpm_public_parse(in, &p, NULL)) {
        CHECK(p.type == 0xFFFF);
        return;
    }
    within(in, p.tpmt);
    within(in, p.rsa_modulus);
    within(in, p.ecc_x);
    within(in, p.ecc_y);
    CHECK(p.tpmt.len + 2 == in.len);
    CHECK((p.type == AVOW_TPM_ALG_RSA) == (p.rsa_modulus.len > 0));
}

void fuzz_certify(struct avow_bytes in)
{
    static const uint8_t untouched[1];
    struct avow_certify c = {.name = AVOW_BYTES_OF(untouched)};
    if (avow_certify_parse(in, &c, NULL)) {
        CHECK(c.name.ptr == untouched);
        return;
    }
    within(in, c.name);
    within(in, c.extra_data);
}

void fuzz_quote(struct avow_bytes in)
{
    struct avow_quote q = {.type = 1};
    if (avow_quote_parse(in, &q, NULL)) {
        CHECK(q.type == 1);
        return;
    }
    within(in, q.qualified_signer);
    within(in, q.extra_data);
    within(in, q.pcr_digest);
    CHECK(q.selections_count <= AVOW_QUOTE_SELECTIONS_MAX);
}

void fuzz_tpm_signature(struct avow_bytes in)
{
    struct avow_tpm_signature s = {.scheme = 1};
    if (avow_tpm_signature_parse(in, &s, NULL)) {
        CHECK(s.scheme == 1);
        return;
    }
    within(in, s.rsa);
    within(in, s.r);
    within(in, s.s);
    CHECK((s.scheme == AVOW_TPM_ALG_ECDSA) || !s.r.ptr);
}

void fuzz_ima_list(struct avow_bytes in)
{
    struct avow_rd r = avow_rd_make(in);
    struct avow_ima_entry e;
    const uint8_t *at = r.p;
    while (avow_ima_entry_next(&r, &e) == AVOW_IMA_ENTRY) {
        struct avow_ima_file f;
        CHECK(e.raw.ptr == at && r.p > at && e.raw.len <= AVOW_IMA_ENTRY_MAX);
        at = r.p;
        within(e.raw, e.template_data);
        CHECK(e.hashed_count >= 1 && e.hashed_count <= AVOW_IMA_PIECES &&
              e.template_digest.len == 20);
        if (avow_ima_file_parse(&e, &f, NULL))
            continue;
        within(e.raw, f.digest);
        within(e.raw, avow_bytes_make(f.path.ptr, f.path.len));
        CHECK(f.path.len && !memchr(f.path.ptr, 0, f.path.len) && f.digest.len <= 64);
    }
    CHECK(r.p == at);
}

/* Any form: what text gives must be read like the binary form of it. */
void fuzz_ima_text(struct avow_bytes in)
{
    struct avow_ima_view v;
    struct avow_ima_entry e;
    struct avow_ima_file f;
    size_t n = 0;
    avow_ima_view_init(&v, in);
    CHECK(v.kind == avow_ima_list_kind(in));
    CHECK((v.kind == AVOW_IMA_LIST_EMPTY) == !in.len);
    while (avow_ima_view_next(&v, &e) == AVOW_IMA_ENTRY) {
        CHECK(++n <= in.len);
        within(in, e.raw);
        CHECK(e.template_digest.len == v.digest_len && e.hashed_count);
        CHECK(e.template_name.len <= AVOW_IMA_TEMPLATE_NAME_MAX);
        struct avow_bytes data = e.template_data;
        struct avow_ima_extra x;
        if (avow_ima_extra_parse(&e, &f, &x, NULL))
            continue;
        within(data, f.digest);
        within(data, f.signature);
        within(data, f.buffer);
        within(data, avow_bytes_make(f.path.ptr, f.path.len));
        CHECK(f.path.len && f.path.len <= AVOW_IMA_PATH_MAX && f.digest.len <= 64);
        within(data, x.modsig);
        within(data, x.xattr_values);
    }
    avow_ima_view_deinit(&v);
}

static enum avow_rc take_key(void *ctx, struct avow_bytes der, const uint32_t *id,
                             struct avow_err *err)
{
    (void)id;
    (void)err;
    CHECK(der.len <= 16384);
    ++*(size_t *)ctx;
    return AVOW_OK;
}

void fuzz_ima_keyring(struct avow_bytes in)
{
    size_t n = 0;
    const struct avow_ima_keyring_sink sink = {&n, take_key};
    struct avow_err err = {0};
    enum avow_rc rc = avow_ima_keyring_parse(in, &sink, &err);
    CHECK(!rc || err.msg[0]);
    CHECK(n <= AVOW_IMA_KEYRING_MAX);
}

static enum avow_rc take(void *ctx, enum avow_policy_item item, struct avow_str name,
                         struct avow_bytes value, struct avow_err *err)
{
    (void)err;
    CHECK(value.len <= 64 && (item != AVOW_POLICY_ITEM_DIGEST || name.len));
    CHECK(!name.len || !memchr(name.ptr, 0, name.len));
    ++*(size_t *)ctx;
    return AVOW_OK;
}

void fuzz_policy_text(struct avow_bytes in)
{
    size_t items = 0;
    const struct avow_policy_sink sink = {.ctx = &items, .item = take};
    struct avow_err err = {0};
    enum avow_rc rc = avow_policy_text_parse(in, &sink, &err);
    CHECK(!rc || err.msg[0]);
    CHECK(items <= in.len);
}

void fuzz_efi_siglist(struct avow_bytes in)
{
    struct avow_efi_siglist l = {.count = 77};
    struct avow_efi_siglist_walk w;
    struct avow_efi_signature s;
    struct avow_err err = {0};
    size_t n = 0;
    if (avow_efi_siglist_parse(in, &l, &err)) {
        CHECK(l.count == 77 && err.msg[0]);
        return;
    }
    avow_efi_siglist_walk_init(&w, &l);
    while (avow_efi_siglist_walk_next(&w, &s)) {
        n++;
        within(in, s.data);
        CHECK(s.type.len == 16 && s.owner.len == 16 && s.list < l.lists);
        within(in, s.type);
        within(in, s.owner);
    }
    CHECK(n == l.count && n <= in.len / 16);
}

#define JOIN(a, b) a##b
#define CALL(name, in) JOIN(fuzz_, name)(in)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    CALL(PARSER, avow_bytes_make(data, size));
    return 0;
}
