/* SPDX-License-Identifier: Apache-2.0 */
#include "memory/forks.h"

#include "core/waiting.h"

/* Taken before the locks of the roots; what a fork finds free stays locked until it is through. */
static pthread_mutex_t roots_mutex = PTHREAD_MUTEX_INITIALIZER;
static ss_root *roots;

static void before_fork(void) {
    pthread_mutex_lock(&roots_mutex);
    for (ss_root *root = roots; root != NULL; root = root->next_root) {
        pthread_mutex_lock(&root->leases_mutex);
        root->at_fork = ss_root_is_mine(root) ? SS_FORK_OWN : pthread_mutex_trylock(&root->mutex) == 0 ? SS_FORK_FREE : SS_FORK_BUSY;
    }
}

static void release_root(ss_root *root) {
    if (root->at_fork == SS_FORK_FREE) pthread_mutex_unlock(&root->mutex);
    pthread_mutex_unlock(&root->leases_mutex);
}

static void after_fork(void) {
    for (ss_root *root = roots; root != NULL; root = root->next_root) release_root(root);
    pthread_mutex_unlock(&roots_mutex);
}

static void after_fork_in_child(void) {
    ss_waiting_forked();
    for (ss_root *root = roots; root != NULL; root = root->next_root) {
        bool busy = root->at_fork == SS_FORK_BUSY;
        release_root(root);
        ss_root_forget_sharing(root);
        if (root->storage_ops != NULL && root->storage_ops->forked != NULL && root->storage_ops->forked(root->storage)) busy = true;
        if (busy) ss_root_forked(root, "another thread was using the memory when this process was forked: make a new one here");
    }
    pthread_mutex_unlock(&roots_mutex);
}

static void watch_forks(void) {
    pthread_atfork(before_fork, after_fork, after_fork_in_child);
}

void ss_forks_list(ss_root *root) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, watch_forks);
    pthread_mutex_lock(&roots_mutex);
    root->next_root = roots;
    root->root_link = &roots;
    if (roots != NULL) roots->root_link = &root->next_root;
    roots = root;
    pthread_mutex_unlock(&roots_mutex);
}

void ss_forks_unlist(ss_root *root) {
    pthread_mutex_lock(&roots_mutex);
    *root->root_link = root->next_root;
    if (root->next_root != NULL) root->next_root->root_link = root->root_link;
    pthread_mutex_unlock(&roots_mutex);
}
