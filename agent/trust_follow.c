#include "trust_follow.h"

#include "avow/base/file.h"
#include "avow/base/log.h"

#include <stdlib.h>

#include "avow/base/banned.h"

#define BUNDLE_MAX (32u * 1024u) /* PROTOCOL B6 */
#define PATH_MAX_LEN 4096u

struct avow_trust_follow {
    struct avow_root *root;
    struct avow_trust *trust; /* NULL: none yet */
    char path[PATH_MAX_LEN];
};

static void load_copy(struct avow_trust_follow *f)
{
    struct avow_err err = {.rc = AVOW_OK};
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf copy;
    avow_buf_init(&copy, BUNDLE_MAX);
    if (!avow_file_exists(f->path))
        return;
    enum avow_rc rc = avow_file_read(f->path, &copy, &err);
    static const char key[] = "bundle";
    if (!rc)
        rc = avow_trust_open(f->root, avow_bytes_make(key, sizeof key - 1), avow_buf_bytes(&copy),
                             0, NULL, &f->trust, &err);
    if (rc) /* the root file was exchanged, or the disk lies: the topic decides */
        avow_log(WARN, "bundle.copy_refused", AVOW_KV_STR("path", f->path), AVOW_KV_ERR(&err),
                 AVOW_KV_STR("effect", "the topic decides, and an older bundle would be believed "
                                       "this once"),
                 AVOW_KV_STR("next", "look who wrote the file, and whether agent.root is right"));
}

enum avow_rc avow_trust_follow_new(const char *root_path, const char *state_dir,
                                   struct avow_trust_follow **out, struct avow_err *err)
{
    AVOW_CLEANUP(avow_trust_follow_free) struct avow_trust_follow *f = calloc(1, sizeof *f);
    if (!f)
        return avow_err_set(err, AVOW_NOMEM, 0, "trust");
    if (snprintf(f->path, sizeof f->path, "%s/bundle.avro", state_dir) >= (int)sizeof f->path)
        return avow_err_set(err, AVOW_CONFIG, 0, "agent.state_dir is too long");
    enum avow_rc rc = avow_root_load(root_path, &f->root, err);
    if (rc)
        return rc;
    load_copy(f);
    *out = AVOW_STEAL(f);
    return AVOW_OK;
}

void avow_trust_follow_free(struct avow_trust_follow *f)
{
    if (!f)
        return;
    avow_trust_free(f->trust);
    avow_root_free(f->root);
    free(f);
}

const struct avow_trust *avow_trust_follow_current(const struct avow_trust_follow *f)
{
    return f->trust;
}

bool avow_trust_follow_offer(struct avow_trust_follow *f, struct avow_bytes kafka_key,
                             struct avow_bytes record)
{
    struct avow_err err = {.rc = AVOW_OK};
    const struct avow_bundle *now = f->trust ? avow_trust_bundle(f->trust) : NULL;
    struct avow_trust *next = NULL;
    enum avow_rc rc = avow_trust_open(f->root, kafka_key, record, now ? now->version : 0,
                                      now ? now->fleet : NULL, &next, &err);
    if (rc == AVOW_EXISTS ||
        rc == AVOW_ROLLBACK) /* the topic keeps older ones until it is compacted */
        return false;
    if (rc) {
        avow_log_limited(WARN, "bundle.refused", 6, AVOW_KV_ERR(&err));
        return false;
    }
    avow_trust_free(f->trust);
    f->trust = next;
    if (avow_file_write(f->path, avow_trust_record(next), 0644, &err))
        avow_log(ERROR, "bundle.not_saved", AVOW_KV_ERR(&err),
                 AVOW_KV_STR("effect", "after a restart an older bundle would be believed"),
                 AVOW_KV_STR("next", "is the disk of agent.state_dir full or read-only?"));
    return true;
}
