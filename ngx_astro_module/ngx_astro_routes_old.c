
/*
 * Copyright (C) The Astro authors
 *
 * Routes: paths of the platforms that we replace.  Each is another name of a
 * route of ours: the same function, with the same checks.
 * The columns are explained in ngx_astro_old.h.
 */

#include "ngx_astro_old.h"
#include "ngx_astro_routes.h"


#define SERVICES                                                              \
    "voice=audio call=audio phone=audio text=chat message=chat"

static const ngx_astro_old_name_t  ngx_astro_old_start[] = {
    { "advisorId", "advisor", NULL },
    { "astrologerId", "advisor", NULL },
    { "readerId", "advisor", NULL },
    { "guideId", "advisor", NULL },
    { "serviceType", "service", SERVICES },
    { "sessionType", "service", SERVICES },
    { "callType", "service", SERVICES },
    { "type", "service", SERVICES },
    { "maxMinutes", "max_minutes", NULL },
    { NULL, "service", "chat" },
    { NULL, "cid", "new" },
    { NULL, NULL, NULL }
};

static const ngx_astro_old_name_t  ngx_astro_old_call[] = {
    { "advisorId", "advisor", NULL },
    { "astrologerId", "advisor", NULL },
    { "readerId", "advisor", NULL },
    { "guideId", "advisor", NULL },
    { "serviceType", "service", SERVICES },
    { "sessionType", "service", SERVICES },
    { "callType", "service", SERVICES },
    { "type", "service", SERVICES },
    { "maxMinutes", "max_minutes", NULL },
    { NULL, "service", "audio" },
    { NULL, "cid", "new" },
    { NULL, NULL, NULL }
};

static const ngx_astro_old_name_t  ngx_astro_old_video[] = {
    { "advisorId", "advisor", NULL },
    { "astrologerId", "advisor", NULL },
    { "readerId", "advisor", NULL },
    { "guideId", "advisor", NULL },
    { "maxMinutes", "max_minutes", NULL },
    { NULL, "service", "video" },
    { NULL, "cid", "new" },
    { NULL, NULL, NULL }
};

static const ngx_astro_old_name_t  ngx_astro_old_book[] = {
    { "advisorId", "advisor", NULL },
    { "astrologerId", "advisor", NULL },
    { "readerId", "advisor", NULL },
    { "guideId", "advisor", NULL },
    { "serviceType", "service", SERVICES },
    { "sessionType", "service", SERVICES },
    { "callType", "service", SERVICES },
    { "type", "service", SERVICES },
    { "startTime", "start", NULL },
    { "scheduledAt", "start", NULL },
    { "notes", "note", NULL },
    { NULL, "service", "chat" },
    { NULL, NULL, NULL }
};

static const ngx_astro_old_name_t  ngx_astro_old_hours[] = {
    { "timezone", "time_zone", NULL },
    { "timeZone", "time_zone", NULL },
    { "weekly", "week", NULL },
    { "slotMinutes", "slot_minutes", NULL },
    { NULL, NULL, NULL }
};

static const ngx_astro_old_name_t  ngx_astro_old_session[] = {
    { "sessionId", "{s}", NULL },
    { "consultationId", "{s}", NULL },
    { "callId", "{s}", NULL },
    { NULL, NULL, NULL }
};

static const ngx_astro_old_name_t  ngx_astro_old_message[] = {
    { "sessionId", "{c}", "session" },
    { "consultationId", "{c}", "session" },
    { "callId", "{c}", "session" },
    { "message", "text", NULL },
    { "content", "text", NULL },
    { "replyTo", "reply_to", NULL },
    { NULL, "cid", "new" },
    { NULL, NULL, NULL }
};

static const ngx_astro_old_name_t  ngx_astro_old_feedback[] = {
    { "sessionId", "{s}", NULL },
    { "consultationId", "{s}", NULL },
    { "callId", "{s}", NULL },
    { "comment", "text", NULL },
    { "review", "text", NULL },
    { NULL, NULL, NULL }
};

static const ngx_astro_old_name_t  ngx_astro_old_favorite[] = {
    { "advisorId", "{u}", NULL },
    { "astrologerId", "{u}", NULL },
    { "readerId", "{u}", NULL },
    { "guideId", "{u}", NULL },
    { NULL, NULL, NULL }
};

static const ngx_astro_old_name_t  ngx_astro_old_person[] = {
    { "fullName", "name", NULL },
    { "displayName", "name", NULL },
    { "username", "name", NULL },
    { NULL, NULL, NULL }
};

static const ngx_astro_old_name_t  ngx_astro_old_profile[] = {
    { "fullName", "name", NULL },
    { "displayName", "name", NULL },
    { "bio", "about", NULL },
    { NULL, NULL, NULL }
};

static const ngx_astro_old_name_t  ngx_astro_old_advisor[] = {
    { "fullName", "name", NULL },
    { "displayName", "name", NULL },
    { "tagline", "headline", NULL },
    { "about", "bio", NULL },
    { "experienceYears", "experience", NULL },
    { NULL, NULL, NULL }
};

static const ngx_astro_old_name_t  ngx_astro_old_status[] = {
    { "isOnline", "status", "true=online false=offline" },
    { "online", "status", "true=online false=offline" },
    { NULL, NULL, NULL }
};

static const ngx_astro_old_name_t  ngx_astro_old_payouts[] = {
    { "dryRun", "dry_run", NULL },
    { NULL, NULL, NULL }
};

static const ngx_astro_old_name_t  ngx_astro_old_search[] = {
    { "isOnline", "online", NULL },
    { "search", "q", NULL },
    { "sortBy", "sort", NULL },
    { "minRating", "rating", NULL },
    { NULL, NULL, NULL }
};

static const ngx_astro_old_name_t  ngx_astro_old_nearby[] = {
    { "lat", "latitude", NULL },
    { "lng", "longitude", NULL },
    { "radius", "radius_km", NULL },
    { NULL, NULL, NULL }
};


static const ngx_astro_old_name_t  ngx_astro_old_stripe[] = {
    { "paymentMethod", "provider", NULL },
    { NULL, "provider", "stripe" },
    { NULL, NULL, NULL }
};

static const ngx_astro_old_name_t  ngx_astro_old_razorpay[] = {
    { "paymentMethod", "provider", NULL },
    { NULL, "provider", "razorpay" },
    { NULL, NULL, NULL }
};


const ngx_astro_old_row_t  ngx_astro_routes_old[] = {

    /* astroweb */

    { POST, ngx_string("/api/call/initiate"), NULL,
      POST, ngx_string("/api/sessions"), ngx_astro_old_call },
    { POST, ngx_string("/api/call/end"), NULL,
      POST, ngx_string("/api/sessions/{s}/end"), ngx_astro_old_session },

    /*
     * AngelGuides and SoulSeer; of theirs /api/sessions/{s}, its status, end
     * and review are what we call them, too
     */

    { POST, ngx_string("/api/sessions/start"), NULL,
      POST, ngx_string("/api/sessions"), ngx_astro_old_start },
    { POST, ngx_string("/api/sessions/end/{s}"), NULL,
      POST, ngx_string("/api/sessions/{s}/end"), NULL },

    { GET, ngx_string("/api/readers"), NULL,
      GET, ngx_string("/api/advisors"), ngx_astro_old_search },
    { PUT, ngx_string("/api/readers/profile"), NULL,
      PUT, ngx_string("/api/advisors/me"), ngx_astro_old_advisor },
    { PUT, ngx_string("/api/readers/status"), NULL,
      PUT, ngx_string("/api/advisors/me/status"), ngx_astro_old_status },
    { GET, ngx_string("/api/readers/{u}"), NULL,
      GET, ngx_string("/api/advisors/{u}"), NULL },

    { GET, ngx_string("/api/payments/balance"), NULL,
      GET, ngx_string("/api/wallet"), NULL },
    { GET, ngx_string("/api/payments/transactions"), NULL,
      GET, ngx_string("/api/wallet/transactions"), NULL },
    { POST, ngx_string("/api/payments/add-balance"), NULL,
      POST, ngx_string("/api/payments"), ngx_astro_old_stripe },
    { POST, ngx_string("/api/payments/webhook"), NULL,
      POST, ngx_string("/api/webhooks/stripe"), NULL },

    { POST, ngx_string("/api/admin/readers"), NULL,
      POST, ngx_string("/api/admin/advisors"), ngx_astro_old_advisor },
    { POST, ngx_string("/api/admin/payouts/process"), NULL,
      POST, ngx_string("/api/admin/payouts"), ngx_astro_old_payouts },

    /* Anytime Pooja */

    { POST, ngx_string("/api/user/auth/login"), NULL,
      POST, ngx_string("/api/auth/login"), NULL },
    { POST, ngx_string("/api/user/auth/signup"), NULL,
      POST, ngx_string("/api/auth/register"), ngx_astro_old_person },
    { GET, ngx_string("/api/user/profile"), NULL,
      GET, ngx_string("/api/me/profile"), NULL },
    { PUT, ngx_string("/api/user/profile"), NULL,
      PUT, ngx_string("/api/me/profile"), ngx_astro_old_profile },
    { GET, ngx_string("/api/user/wallet/balance"), NULL,
      GET, ngx_string("/api/wallet"), NULL },
    { POST, ngx_string("/api/user/wallet/recharge"), NULL,
      POST, ngx_string("/api/payments"), ngx_astro_old_razorpay },
    { GET, ngx_string("/api/user/consultations"), NULL,
      GET, ngx_string("/api/sessions"), NULL },
    { POST, ngx_string("/api/user/consultations/book"), NULL,
      POST, ngx_string("/api/bookings"), ngx_astro_old_book },
    { GET, ngx_string("/api/user/favorites"), NULL,
      GET, ngx_string("/api/favorites"), NULL },
    { POST, ngx_string("/api/user/favorites"), NULL,
      PUT, ngx_string("/api/favorites/{u}"), ngx_astro_old_favorite },
    { DELETE, ngx_string("/api/user/favorites/{u}"), NULL,
      DELETE, ngx_string("/api/favorites/{u}"), NULL },
    { GET, ngx_string("/api/user/location"), NULL,
      GET, ngx_string("/api/advisors/nearby"), ngx_astro_old_nearby },

    { POST, ngx_string("/api/astrologer/auth/login"), NULL,
      POST, ngx_string("/api/auth/login"), NULL },
    { GET, ngx_string("/api/astrologer/profile"), NULL,
      GET, ngx_string("/api/advisors/me"), NULL },
    { PUT, ngx_string("/api/astrologer/profile"), NULL,
      PUT, ngx_string("/api/advisors/me"), ngx_astro_old_advisor },
    { PUT, ngx_string("/api/astrologer/availability"), NULL,
      PUT, ngx_string("/api/advisors/me/schedule"), ngx_astro_old_hours },
    { GET, ngx_string("/api/astrologer/dashboard"), NULL,
      GET, ngx_string("/api/advisors/me/dashboard"), NULL },
    { GET, ngx_string("/api/astrologer/earnings"), NULL,
      GET, ngx_string("/api/advisors/me/earnings"), NULL },
    { GET, ngx_string("/api/astrologer/analytics"), NULL,
      GET, ngx_string("/api/advisors/me/figures"), NULL },
    { GET, ngx_string("/api/astrologer/clients"), NULL,
      GET, ngx_string("/api/advisors/me/clients"), NULL },
    { GET, ngx_string("/api/astrologer/consultations"), NULL,
      GET, ngx_string("/api/sessions"), NULL },

    { PUT, ngx_string("/api/astrologer/consultation/{s}/status"),
      "status=accepted",
      POST, ngx_string("/api/sessions/{s}/accept"), NULL },
    { PUT, ngx_string("/api/astrologer/consultation/{s}/status"),
      "status=rejected",
      POST, ngx_string("/api/sessions/{s}/reject"), NULL },
    { PUT, ngx_string("/api/astrologer/consultation/{s}/status"),
      "status=completed",
      POST, ngx_string("/api/sessions/{s}/end"), NULL },
    { PUT, ngx_string("/api/astrologer/consultation/{s}/status"),
      "status=ended",
      POST, ngx_string("/api/sessions/{s}/end"), NULL },

    { GET, ngx_string("/api/communication/chat/{s}"), NULL,
      GET, ngx_string("/api/sessions/{s}/transcript"), NULL },
    { POST, ngx_string("/api/communication/chat/message"), NULL,
      POST, ngx_string("/api/conversations/{c}/messages"),
      ngx_astro_old_message },
    { POST, ngx_string("/api/communication/call/initiate"), NULL,
      POST, ngx_string("/api/sessions"), ngx_astro_old_call },
    { POST, ngx_string("/api/communication/video/start"), NULL,
      POST, ngx_string("/api/sessions"), ngx_astro_old_video },
    { GET, ngx_string("/api/communication/notifications"), NULL,
      GET, ngx_string("/api/notifications"), NULL },
    { POST, ngx_string("/api/communication/feedback"), NULL,
      POST, ngx_string("/api/sessions/{s}/review"), ngx_astro_old_feedback },

    { 0, ngx_null_string, NULL, 0, ngx_null_string, NULL }
};
