//! The shop: a dozen services, what they offer and what each offer asks of others.
//!
//! Medians are in microseconds and invented, in proportions that small web shops show: caches below a millisecond, indexed
//! queries at a few, a payment provider at a hundred.

/// Calls name them by index.
pub static SERVICES: [Service; 12] = [
    Service { name: "storefront", version: "4.12.1", language: "nodejs", port: 8080 },
    Service { name: "checkout", version: "2.31.0", language: "go", port: 5050 },
    Service { name: "cart", version: "1.8.4", language: "dotnet", port: 7070 },
    Service { name: "catalog", version: "3.2.0", language: "go", port: 3550 },
    Service { name: "pricing", version: "0.19.2", language: "rust", port: 7001 },
    Service { name: "search", version: "2.4.7", language: "java", port: 9090 },
    Service { name: "recommendations", version: "1.1.15", language: "python", port: 8081 },
    Service { name: "payments", version: "5.0.3", language: "java", port: 50051 },
    Service { name: "inventory", version: "2.9.0", language: "java", port: 8085 },
    Service { name: "shipping", version: "1.4.2", language: "rust", port: 50052 },
    Service { name: "accounts", version: "6.3.1", language: "java", port: 8443 },
    Service { name: "notifications", version: "0.7.9", language: "python", port: 8087 },
];

pub struct Service {
    pub name: &'static str,
    pub version: &'static str,
    pub language: &'static str,
    pub port: u16,
}

/// What a service does when asked.
pub struct Operation {
    /// An index into [`SERVICES`].
    pub service: usize,
    pub protocol: Protocol,
    /// The median of its own work, without its calls, µs.
    pub work_us: f64,
    pub calls: &'static [Call],
}

pub enum Protocol {
    Http { method: &'static str, route: &'static str },
    Grpc { service: &'static str, method: &'static str },
    Topic(&'static str),
}

pub struct Call {
    pub to: To,
    /// How often it is made, when it is.
    pub times: (u32, u32),
    /// How likely it is made at all.
    pub chance: f64,
    /// All at once, or one after the other.
    pub at_once: bool,
}

pub enum To {
    Operation(&'static Operation),
    Query(&'static Query),
    /// Work inside the service that has its own span.
    Step(&'static str),
    /// A message whose consumer nobody waits for.
    Publish(&'static Operation),
}

pub struct Query {
    pub system: &'static str,
    pub server: &'static str,
    pub port: u16,
    pub namespace: &'static str,
    pub operation: &'static str,
    pub collection: &'static str,
    pub text: &'static str,
    /// Median, µs.
    pub work_us: f64,
}

/// What users do, and how often of a hundred.
pub static ENTRIES: [(u32, &Operation); 7] =
    [(22, &HOME), (31, &PRODUCT), (16, &SEARCH), (8, &VIEW_CART), (7, &ADD_TO_CART), (13, &CHECKOUT), (3, &SIGN_IN)];

/// What an orchestrator asks of every service.
pub const HEALTH_ROUTE: &str = "/healthz";

const fn once(to: To) -> Call {
    Call { to, times: (1, 1), chance: 1.0, at_once: false }
}

const fn maybe(chance: f64, to: To) -> Call {
    Call { to, times: (1, 1), chance, at_once: false }
}

const fn fan_out(least: u32, most: u32, to: To) -> Call {
    Call { to, times: (least, most), chance: 1.0, at_once: true }
}

const fn http(
    service: usize,
    method: &'static str,
    route: &'static str,
    work_us: f64,
    calls: &'static [Call],
) -> Operation {
    Operation { service, protocol: Protocol::Http { method, route }, work_us, calls }
}

const fn grpc(
    at: usize,
    service: &'static str,
    method: &'static str,
    work_us: f64,
    calls: &'static [Call],
) -> Operation {
    Operation { service: at, protocol: Protocol::Grpc { service, method }, work_us, calls }
}

static HOME: Operation = http(
    0,
    "GET",
    "/",
    9_000.0,
    &[
        once(To::Query(&SESSION)),
        once(To::Operation(&LIST_PRODUCTS)),
        maybe(0.8, To::Operation(&RECOMMEND)),
        maybe(0.4, To::Operation(&GET_CART)),
        once(To::Step("render home")),
    ],
);
static PRODUCT: Operation = http(
    0,
    "GET",
    "/products/{id}",
    7_000.0,
    &[
        once(To::Query(&SESSION)),
        once(To::Operation(&GET_PRODUCT)),
        once(To::Operation(&STOCK)),
        maybe(0.55, To::Operation(&RECOMMEND)),
        once(To::Step("render product")),
    ],
);
static SEARCH: Operation = http(
    0,
    "GET",
    "/search",
    6_000.0,
    &[once(To::Operation(&FIND)), fan_out(1, 4, To::Operation(&PRICE)), once(To::Step("render results"))],
);
static VIEW_CART: Operation = http(
    0,
    "GET",
    "/cart",
    5_000.0,
    &[once(To::Query(&SESSION)), once(To::Operation(&GET_CART)), fan_out(0, 3, To::Operation(&PRICE))],
);
static ADD_TO_CART: Operation = http(
    0,
    "POST",
    "/cart/items",
    4_000.0,
    &[once(To::Query(&SESSION)), once(To::Operation(&GET_PRODUCT)), once(To::Operation(&ADD_ITEM))],
);
static CHECKOUT: Operation =
    http(0, "POST", "/checkout", 8_000.0, &[once(To::Query(&SESSION)), once(To::Operation(&PLACE_ORDER))]);
static SIGN_IN: Operation = http(0, "POST", "/sign-in", 3_000.0, &[once(To::Operation(&AUTHENTICATE))]);

static PLACE_ORDER: Operation = grpc(
    1,
    "shop.Checkout",
    "PlaceOrder",
    12_000.0,
    &[
        once(To::Operation(&GET_CART)),
        fan_out(1, 4, To::Operation(&PRICE)),
        once(To::Operation(&RESERVE)),
        once(To::Operation(&QUOTE)),
        once(To::Step("assess fraud")),
        once(To::Operation(&CHARGE)),
        once(To::Query(&INSERT_ORDER)),
        once(To::Publish(&ORDER_PLACED)),
        maybe(0.9, To::Operation(&EMPTY_CART)),
    ],
);
static GET_CART: Operation = grpc(2, "shop.Cart", "GetCart", 800.0, &[once(To::Query(&CART_GET))]);
static ADD_ITEM: Operation =
    grpc(2, "shop.Cart", "AddItem", 1_200.0, &[once(To::Query(&CART_GET)), once(To::Query(&CART_SET))]);
static EMPTY_CART: Operation = grpc(2, "shop.Cart", "EmptyCart", 700.0, &[once(To::Query(&CART_SET))]);
static LIST_PRODUCTS: Operation = grpc(
    3,
    "shop.Catalog",
    "ListProducts",
    3_500.0,
    &[maybe(0.6, To::Query(&CATALOG_CACHE)), once(To::Query(&SELECT_PRODUCTS))],
);
static GET_PRODUCT: Operation = grpc(
    3,
    "shop.Catalog",
    "GetProduct",
    1_500.0,
    &[once(To::Query(&CATALOG_CACHE)), maybe(0.3, To::Query(&SELECT_PRODUCT)), once(To::Operation(&PRICE))],
);
static PRICE: Operation = grpc(
    4,
    "shop.Pricing",
    "GetPrice",
    400.0,
    &[maybe(0.5, To::Step("evaluate rules")), maybe(0.5, To::Query(&RATES))],
);
static FIND: Operation = http(
    5,
    "GET",
    "/v1/search",
    4_000.0,
    &[maybe(0.7, To::Step("parse query")), fan_out(1, 3, To::Query(&SEARCH_SHARD)), maybe(0.6, To::Step("rank hits"))],
);
static RECOMMEND: Operation = grpc(
    6,
    "shop.Recommendations",
    "ForVisitor",
    14_000.0,
    &[once(To::Query(&FEATURES)), maybe(0.5, To::Step("score candidates"))],
);
static CHARGE: Operation = grpc(
    7,
    "shop.Payments",
    "Charge",
    6_000.0,
    &[once(To::Query(&INSERT_PAYMENT)), once(To::Operation(&PROVIDER)), once(To::Query(&UPDATE_PAYMENT))],
);
static PROVIDER: Operation = http(7, "POST", "/gateway/authorize", 110_000.0, &[]);
static STOCK: Operation = http(8, "GET", "/v2/stock/{sku}", 1_800.0, &[once(To::Query(&SELECT_STOCK))]);
static RESERVE: Operation = http(
    8,
    "POST",
    "/v2/reservations",
    2_500.0,
    &[fan_out(1, 3, To::Query(&SELECT_STOCK)), once(To::Query(&UPDATE_STOCK))],
);
static QUOTE: Operation = grpc(9, "shop.Shipping", "GetQuote", 2_000.0, &[maybe(0.7, To::Query(&ZONES))]);
static AUTHENTICATE: Operation = http(
    10,
    "POST",
    "/oauth/token",
    5_000.0,
    &[once(To::Query(&SELECT_USER)), once(To::Step("verify password")), maybe(0.9, To::Query(&SET_SESSION))],
);
static ORDER_PLACED: Operation = Operation {
    service: 11,
    protocol: Protocol::Topic("order-placed"),
    work_us: 9_000.0,
    calls: &[once(To::Query(&SELECT_USER)), once(To::Step("render mail"))],
};

static SESSION: Query = redis("session-cache", "GET", "GET session:?", 350.0);
static SET_SESSION: Query = redis("session-cache", "SETEX", "SETEX session:? 3600 ?", 420.0);
static CART_GET: Query = redis("cart-store", "HGETALL", "HGETALL cart:?", 450.0);
static CART_SET: Query = redis("cart-store", "HSET", "HSET cart:? ? ?", 500.0);
static CATALOG_CACHE: Query = redis("catalog-cache", "MGET", "MGET product:? product:?", 380.0);
static RATES: Query = redis("pricing-cache", "GET", "GET rate:?", 300.0);
static FEATURES: Query = redis("feature-store", "MGET", "MGET visitor:? item:?", 900.0);
static ZONES: Query = redis("shipping-cache", "GEOSEARCH", "GEOSEARCH zones FROMLONLAT ? ?", 800.0);
static SELECT_PRODUCTS: Query = postgres(
    "catalog",
    "SELECT",
    "products",
    "SELECT id, name, price FROM products WHERE category = $1 LIMIT 24",
    5_200.0,
);
static SELECT_PRODUCT: Query =
    postgres("catalog", "SELECT", "products", "SELECT * FROM products WHERE id = $1", 1_900.0);
static SELECT_STOCK: Query =
    postgres("inventory", "SELECT", "stock", "SELECT on_hand, reserved FROM stock WHERE sku = $1", 1_700.0);
static UPDATE_STOCK: Query =
    postgres("inventory", "UPDATE", "stock", "UPDATE stock SET reserved = reserved + $1 WHERE sku = $2", 3_100.0);
static INSERT_ORDER: Query =
    postgres("orders", "INSERT", "orders", "INSERT INTO orders VALUES ($1, $2, $3, $4)", 4_300.0);
static INSERT_PAYMENT: Query =
    postgres("payments", "INSERT", "payments", "INSERT INTO payments VALUES ($1, $2, $3)", 3_900.0);
static UPDATE_PAYMENT: Query =
    postgres("payments", "UPDATE", "payments", "UPDATE payments SET state = $1 WHERE id = $2", 3_200.0);
static SELECT_USER: Query =
    postgres("accounts", "SELECT", "users", "SELECT id, mail, secret FROM users WHERE mail = $1", 2_100.0);
static SEARCH_SHARD: Query = Query {
    system: "elasticsearch",
    server: "search-index",
    port: 9200,
    namespace: "products-v7",
    operation: "search",
    collection: "products",
    text: "{\"query\":{\"match\":{\"name\":\"?\"}}}",
    work_us: 14_000.0,
};

const fn redis(server: &'static str, operation: &'static str, text: &'static str, work_us: f64) -> Query {
    Query { system: "redis", server, port: 6379, namespace: "0", operation, collection: "", text, work_us }
}

const fn postgres(
    namespace: &'static str,
    operation: &'static str,
    collection: &'static str,
    text: &'static str,
    work_us: f64,
) -> Query {
    Query {
        system: "postgresql",
        server: "postgres-primary",
        port: 5432,
        namespace,
        operation,
        collection,
        text,
        work_us,
    }
}
