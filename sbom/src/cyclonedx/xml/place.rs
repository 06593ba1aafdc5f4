//! What an element of CycloneDX's XML form is in the JSON form: a list, an entry, a number, a text.
//!
//! The tables are those of the schemas of 1.3 to 1.7: `bom-1.7.xsd` beside `bom-1.7.schema.json`.

use serde_json::{Value, json};

use super::XmlError;

/// Elements that are lists of what is in them.
const LISTS: &[&str] = &[
    "advisories",
    "affects",
    "algorithms",
    "aliases",
    "altIds",
    "ancestors",
    "annotations",
    "assemblies",
    "assessors",
    "attestations",
    "authors",
    "certificateExtensions",
    "cipherSuites",
    "citations",
    "claims",
    "collection",
    "commands",
    "commits",
    "components",
    "compositions",
    "conditions",
    "counterClaims",
    "cryptoFunctions",
    "custodians",
    "cwes",
    "datasets",
    "dependencies",
    "descendants",
    "descriptions",
    "endpoints",
    "energyConsumptions",
    "environmentVars",
    "ethicalConsiderations",
    "expressions",
    "externalReferences",
    "fairnessAssessments",
    "formulation",
    "frames",
    "hashes",
    "identifiers",
    "individuals",
    "inputs",
    "levels",
    "licenseTypes",
    "licenses",
    "lifecycles",
    "methods",
    "mitigationStrategies",
    "occurrences",
    "organizations",
    "outputs",
    "owners",
    "parameters",
    "patches",
    "patentAssertions",
    "patentRefs",
    "patents",
    "performanceMetrics",
    "performanceTradeoffs",
    "pointers",
    "properties",
    "ratings",
    "references",
    "relatedCryptographicAssets",
    "requirements",
    "resolves",
    "resourceReferences",
    "responses",
    "runtimeTopology",
    "services",
    "signatories",
    "standards",
    "steps",
    "stewards",
    "subjects",
    "supportingMaterial",
    "tags",
    "taskDependencies",
    "taskTypes",
    "tasks",
    "technicalLimitations",
    "tlsGroups",
    "tlsSignatureSchemes",
    "tools",
    "useCases",
    "users",
    "variants",
    "versions",
    "vulnerabilities",
    "workflows",
    "workspaces",
];

/// Elements that are lists only in some others, which come first.
const LISTS_IN: &[(&str, &str)] = &[
    ("dataflow", "destination"),
    ("dataflow", "source"),
    ("declarations", "evidence"),
    ("evidence", "copyright"),
    ("patentFamily", "members"),
    ("releaseNotes", "notes"),
    ("service", "data"),
];

/// Elements that stand several times beside each other, by what they are in.
const REPEATED: &[(&str, &str)] = &[
    ("algorithmProperties", "certificationLevel"),
    ("attestation", "map"),
    ("certificateProperties", "certificateState"),
    ("claim", "counterEvidence"),
    ("claim", "evidence"),
    ("component", "data"),
    ("component", "omniborId"),
    ("component", "swhid"),
    ("data", "sensitiveData"),
    ("dataset", "sensitiveData"),
    ("dependency", "provides"),
    ("energyConsumption", "energyProviders"),
    ("evidence", "data"),
    ("expression-detailed", "details"),
    ("ikev2TransformTypes", "auth"),
    ("ikev2TransformTypes", "encr"),
    ("ikev2TransformTypes", "integ"),
    ("ikev2TransformTypes", "ke"),
    ("ikev2TransformTypes", "prf"),
    ("manufacture", "contact"),
    ("manufacture", "url"),
    ("manufacturer", "contact"),
    ("manufacturer", "url"),
    ("organization", "contact"),
    ("organization", "url"),
    ("patent", "patentAssignee"),
    ("protocolProperties", "cryptoRef"),
    ("provider", "contact"),
    ("provider", "url"),
    ("requirement", "openCre"),
    ("supplier", "contact"),
    ("supplier", "url"),
];

/// The same, but for version 1.5, where they stand alone.
const REPEATED_SINCE_1_6: &[(&str, &str)] = &[("evidence", "identity")];

/// Texts that say how they are encoded, by what they are in.
const ATTACHMENTS: &[(&str, &str)] = &[
    ("details", "text"),
    ("diff", "text"),
    ("event", "data"),
    ("graphic", "image"),
    ("input", "data"),
    ("license", "text"),
    ("note", "text"),
    ("output", "data"),
    ("swid", "text"),
];

/// Objects that may have nothing in them, where no text may stand.
const OBJECTS: &[&str] = &[
    "address",
    "analysis",
    "contact",
    "credits",
    "diff",
    "individual",
    "manufacture",
    "manufacturer",
    "metadata",
    "organization",
    "pedigree",
    "provider",
    "supplier",
];
const OBJECTS_IN: &[(&str, &str)] = &[
    ("authors", "author"),
    ("commit", "author"),
    ("commit", "committer"),
    ("component", "evidence"),
    ("issue", "source"),
    ("rating", "source"),
    ("reference", "source"),
    ("vulnerability", "source"),
];

const NUMBERS: &[&str] = &[
    "classicalSecurityLevel",
    "column",
    "confidence",
    "cwe",
    "keyLength",
    "line",
    "nistQuantumSecurityLevel",
    "offset",
    "score",
    "tagVersion",
];
const NUMBERS_IN: &[(&str, &str)] = &[
    ("activityEnergyCost", "value"),
    ("co2CostEquivalent", "value"),
    ("co2CostOffset", "value"),
    ("energyProvided", "value"),
    ("ke", "group"),
    ("relatedCryptoMaterialProperties", "size"),
];
const BOOLEANS: &[&str] = &[
    "authenticated",
    "esn",
    "isExternal",
    "modified",
    "patch",
    "persistent",
    "remote",
    "thirdParty",
    "x-trust-boundary",
];

/// An element, and what it is in.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) name: &'a str,
    parent: &'a str,
    grandparent: &'a str,
}

impl<'a> Place<'a> {
    pub(super) fn of(name: &'a str) -> Self {
        Self {
            name,
            parent: "",
            grandparent: "",
        }
    }

    pub(super) fn child(self, name: &'a str) -> Self {
        Self {
            name,
            parent: self.name,
            grandparent: self.parent,
        }
    }

    pub(super) fn is_in(self, table: &[(&str, &str)]) -> bool {
        table.contains(&(self.parent, self.name))
    }

    pub(super) fn is_list(self) -> bool {
        LISTS.contains(&self.name) || self.is_in(LISTS_IN)
    }

    /// Whether it stands several times beside others, in a document of this namespace.
    pub(super) fn is_repeated(self, namespace: &str) -> bool {
        self.is_in(REPEATED) || self.is_in(REPEATED_SINCE_1_6) && !namespace.ends_with("/1.5")
    }

    /// Whether it is text that says how it is encoded.
    pub(super) fn is_attachment(self) -> bool {
        self.name == "attachment" || self.is_in(ATTACHMENTS)
    }

    /// Whether it is an object, whatever is in it.
    pub(super) fn is_object(self) -> bool {
        OBJECTS.contains(&self.name) || self.is_in(OBJECTS_IN)
    }

    /// Whether it only says which other element is meant.
    pub(super) fn is_reference(self) -> bool {
        match self.name {
            "dependency" => {
                let of_their_own = ["runtimeTopology", "taskDependencies"];
                (self.parent, self.grandparent) != ("dependencies", "bom")
                    && !of_their_own.contains(&self.parent)
            }
            "vulnerability" => self.grandparent == "composition",
            "tool" => self.grandparent == "identity",
            name => ["assembly", "provides", "subject"].contains(&name),
        }
    }

    /// The field that the text of an element is that has attributes.
    pub(super) fn text_field(self) -> &'a str {
        match self.name {
            "classification" => "classification",
            "fingerprint" | "hash" => "content",
            _ if self.is_attachment() => "content",
            _ => "value",
        }
    }

    /// The field that the element is, in the object that it is in.
    pub(super) fn field(self) -> &'a str {
        match self.name {
            "dependency" => "dependsOn",
            "responses" => "response",
            "cryptoRef" => "cryptoRefArray",
            "details" if self.parent == "expression-detailed" => "expressionDetails",
            name => name,
        }
    }

    /// A value that nothing is in.
    pub(super) fn leaf(self, text: String) -> Result<Value, XmlError> {
        if NUMBERS.contains(&self.name) || self.is_in(NUMBERS_IN) {
            return number(self.name, &text);
        }
        if BOOLEANS.contains(&self.name) {
            return match text.as_str() {
                // With a capital as Python has them, and so its library for CycloneDX.
                "true" | "True" | "1" => Ok(Value::Bool(true)),
                "false" | "False" | "0" => Ok(Value::Bool(false)),
                _ => Err(XmlError::Parse(format!(
                    "<{}> is neither true nor false",
                    self.name
                ))),
            };
        }
        Ok(Value::String(text))
    }

    /// The element as an entry of the list that it is in.
    pub(super) fn entry(self, value: Value) -> Value {
        match (self.parent, self.name, value) {
            // In JSON what says more of an expression stands beside it.
            ("licenses", "expression", Value::Object(mut fields)) => {
                let text = fields.remove(self.text_field()).unwrap_or_default();
                fields.insert(self.name.to_owned(), text);
                Value::Object(fields)
            }
            ("licenses", "expression-detailed", value) => value,
            ("licenses", _, value) | ("copyright", "text", value) => {
                json!({ (self.name): value })
            }
            (_, _, value) => value,
        }
    }
}

/// A number of XML: unlike JSON's it may begin with a sign or a point, or end with one.
///
/// <https://www.w3.org/TR/xmlschema-2/#decimal>
pub(super) fn number(name: &str, text: &str) -> Result<Value, XmlError> {
    let sign = if text.starts_with('-') { "-" } else { "" };
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
    let has_digits = !(whole.is_empty() && part.is_empty());
    let whole = match whole.trim_start_matches('0') {
        whole if whole.starts_with(|it: char| it.is_ascii_digit()) => whole,
        rest => &format!("0{rest}"),
    };
    let point = if part.is_empty() { "" } else { "." };
    let number = format!("{sign}{whole}{point}{part}").parse();
    match number {
        Ok(number) if has_digits => Ok(Value::Number(number)),
        _ => Err(XmlError::Parse(format!("{name} is not a number: {text}"))),
    }
}
