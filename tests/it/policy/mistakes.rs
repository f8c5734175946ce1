//! Mistakes that people make in a bundle.

use std::{fs, path::Path};

/// One mistake, made in a copy of the shipped bundle.
pub struct Mistake {
    pub name: &'static str,
    pub make: Box<dyn Fn(&Path)>,
}

/// All of them, in the order of the files.
pub fn all() -> Vec<Mistake> {
    let mut all = actions();
    all.extend(schema());
    all.extend(rules());
    all.extend(guidance());
    all.extend(notices());
    all
}

fn actions() -> Vec<Mistake> {
    const FILE: &str = "actions.toml";
    vec![
        without("actions.toml is not there", FILE),
        edit("a quote is missing in actions.toml", FILE, r#"resource_type = "invoice""#, r#"resource_type = "invoice"#),
        edit("a key is misspelt", FILE, r#"resource_type = "invoice""#, r#"resource_typ = "invoice""#),
        edit("the class is misspelt", FILE, r#"class = "GENERAL""#, r#"class = "PUBLIC""#),
        edit("the class is missing", FILE, "class = \"GENERAL\"\n", ""),
        edit("an action says nothing about itself", FILE, r#"about = "Cancels an order.""#, r#"about = """#),
        edit(
            "a channel is misspelt",
            FILE,
            r#"escalates_on = ["PORTAL", "CHAT"]"#,
            r#"escalates_on = ["PORTAL", "MAIL"]"#,
        ),
        edit(
            "it is not said where roles must be current for orders",
            FILE,
            "ORDER = [\"PHONE\", \"PORTAL\", \"CHAT\"]\n",
            "",
        ),
        edit(
            "roles must be current for what needs none",
            FILE,
            "ACCOUNT_INFORMATION = []",
            "GENERAL = []\nACCOUNT_INFORMATION = []",
        ),
        edit("a remedy is no action", FILE, r#""call_detail.call_number_of_record"]"#, r#""call_detail.call_back"]"#),
        edit("a remedy needs proof itself", FILE, r#""call_detail.call_number_of_record"]"#, r#""account.view"]"#),
        edit(
            "a delivery names no kind of record",
            FILE,
            r#"target = "ADDRESS_OF_RECORD""#,
            r#"target = "MY_OTHER_NUMBER""#,
        ),
        edit(
            "what is open to everybody delivers nowhere",
            FILE,
            "obligations = [{ name = \"DELIVER_TO_RECORD\", parameters = { target = \"ADDRESS_OF_RECORD\" } }]\n",
            "",
        ),
        edit(
            "what is told to the caller says that it goes to the record",
            FILE,
            "obligations = [{ name = \"NO_ADDITIONAL_DETAIL\" }]",
            "obligations = [{ name = \"DELIVER_TO_RECORD\", parameters = { target = \"NUMBER_OF_RECORD\" } }]",
        ),
        edit("an example is of another kind", FILE, "example = 12900", r#"example = "129.00""#),
        edit("an attribute has an unknown kind", FILE, r#"kind = "number""#, r#"kind = "money""#),
        edit("a declared attribute is not in the schema", FILE, "currency =", "valuta ="),
        append(
            "an action is declared twice",
            FILE,
            "\n[actions.\"order.place\"]\nclass = \"ORDER\"\nabout = \"Again.\"\n",
        ),
        append(
            "an action is not in the schema",
            FILE,
            "\n[actions.\"order.frame\"]\nclass = \"ORDER\"\nabout = \"Frames an order.\"\n",
        ),
        edit("an action has a name with capitals", FILE, r#"[actions."order.cancel"]"#, r#"[actions."Order.Cancel"]"#),
        edit(
            "what is open to everybody has attributes",
            FILE,
            "about = \"A general question",
            "attributes = { topic = { kind = \"text\", example = \"fax\" } }\nabout = \"A general question",
        ),
        edit(
            "a class is opened that may not be",
            FILE,
            "[actions.\"audit.read\"]\nclass = \"ACCOUNT_INFORMATION\"",
            "[actions.\"audit.read\"]\nclass = \"GENERAL\"",
        ),
        edit("the default locale has no file", FILE, r#"default_locale = "en-US""#, r#"default_locale = "de-DE""#),
    ]
}

fn schema() -> Vec<Mistake> {
    const FILE: &str = "schema.cedarschema";
    vec![
        without("the schema is not there", FILE),
        edit("a semicolon is missing in the schema", FILE, "entity Resource;", "entity Resource"),
        edit(
            "an action of the schema is not in actions.toml",
            FILE,
            "\"order.cancel\" in",
            "\"order.cancel\", \"order.frame\" in",
        ),
        edit(
            "an action is in the group of another class",
            FILE,
            "action \"number.port\" in [\"CHANGE\"",
            "action \"number.port\" in [\"ORDER\"",
        ),
        edit("the schema drops a channel", FILE, r#"["PHONE", "PORTAL", "CHAT"]"#, r#"["PHONE", "PORTAL"]"#),
        edit("the schema drops a field of the context", FILE, "  in_cool_off: Bool,\n", ""),
        edit("an attribute has another type in the schema", FILE, "amount_minor: Long", "amount_minor: String"),
        edit("a type is misspelt in the schema", FILE, "channel: Channel,", "channel: Chanel,"),
        edit(
            "everything is put into a namespace",
            FILE,
            "entity Caller in [Role];",
            "namespace Acme { entity Person; }\nentity Caller in [Role];",
        ),
        edit("a class loses its protection", FILE, r#"action "ORDER" in ["PROTECTED"];"#, r#"action "ORDER";"#),
    ]
}

fn rules() -> Vec<Mistake> {
    const FILE: &str = "own.cedar";
    vec![
        append("a rule ends without a semicolon", FILE, "@id(\"own\")\npermit (principal, action, resource)\n"),
        append(
            "a rule has no id",
            FILE,
            "// ours\n\npermit (principal in Role::\"it_admin\", action == Action::\"account.view\", resource);\n",
        ),
        append(
            "an id is taken",
            FILE,
            "@id(\"it-admin\")\npermit (principal in Role::\"it_admin\", action == Action::\"account.view\", resource);\n",
        ),
        append(
            "an id is taken in the same file",
            FILE,
            "@id(\"own\")\nforbid (principal, action == Action::\"case.open\", resource);\n@id(\"own\")\nforbid (principal, action == Action::\"case.update\", resource);\n",
        ),
        append(
            "an id has capitals and blanks",
            FILE,
            "@id(\"My Rule\")\nforbid (principal, action == Action::\"case.open\", resource);\n",
        ),
        append(
            "an id is reserved",
            FILE,
            "@id(\"default\")\nforbid (principal, action == Action::\"case.open\", resource);\n",
        ),
        append(
            "a rule names a role that is not there",
            FILE,
            "@id(\"own\")\npermit (principal in Role::\"it_admins\", action == Action::\"account.view\", resource);\n",
        ),
        append(
            "a rule names an action that is not there",
            FILE,
            "@id(\"own\")\npermit (principal in Role::\"it_admin\", action == Action::\"acount.view\", resource);\n",
        ),
        append(
            "a rule names a channel that is not there",
            FILE,
            "@id(\"own\")\nforbid (principal, action == Action::\"case.open\", resource)\nwhen { context.channel == Channel::\"MAIL\" };\n",
        ),
        append(
            "a rule compares a channel with text",
            FILE,
            "@id(\"own\")\nforbid (principal, action == Action::\"case.open\", resource)\nwhen { context.channel == \"PHONE\" };\n",
        ),
        append(
            "a rule asks for a field that is not there",
            FILE,
            "@id(\"own\")\nforbid (principal, action == Action::\"case.open\", resource)\nwhen { context.familiar };\n",
        ),
        append(
            "a rule asks for an attribute of another action",
            FILE,
            "@id(\"own\")\nforbid (principal, action == Action::\"order.cancel\", resource)\nwhen { context.attributes.amount_minor > 5 };\n",
        ),
        append(
            "a rule names a person",
            FILE,
            "@id(\"own\")\npermit (principal == Caller::\"alice\", action == Action::\"account.view\", resource);\n",
        ),
        append(
            "a rule compares with a person in its condition",
            FILE,
            "@id(\"own\")\npermit (principal, action == Action::\"account.view\", resource)\nwhen { principal == Caller::\"alice\" };\n",
        ),
        append(
            "a rule speaks of users",
            FILE,
            "@id(\"own\")\npermit (principal == User::\"alice\", action == Action::\"account.view\", resource);\n",
        ),
        append(
            "a rule is a template",
            FILE,
            "@id(\"own\")\npermit (principal in ?principal, action == Action::\"account.view\", resource);\n",
        ),
        append(
            "a rule can never hold",
            FILE,
            "@id(\"own\")\npermit (principal, action == Action::\"account.view\", resource)\nwhen { context has familiar && context.familiar };\n",
        ),
        append(
            "a rule fails on an ordinary question",
            FILE,
            "@id(\"own\")\nforbid (principal, action == Action::\"order.place\", resource)\nwhen { context.attributes.amount_minor * 9223372036854775807 > 5 };\n",
        ),
        edit(
            "the rule that demands proof is softened",
            "evidence.cedar",
            "when { context.proof == Proof::\"NONE\" };",
            "when { context.proof == Proof::\"NONE\" && context.channel == Channel::\"PHONE\" };",
        ),
        edit(
            "the rule that demands proof makes an exception for the primary administrator",
            "evidence.cedar",
            "when { context.proof == Proof::\"NONE\" };",
            "when { context.proof == Proof::\"NONE\" } unless { context.primary_admin };",
        ),
        edit(
            "the rule that demands proof forgets a class",
            "evidence.cedar",
            "forbid (principal, action in Action::\"PROTECTED\", resource)\nwhen { context.proof",
            "forbid (principal, action in [Action::\"CALL_DETAIL\", Action::\"CHANGE\", Action::\"ORDER\"], resource)\nwhen { context.proof",
        ),
        edit(
            "a remedy is no longer open",
            "open.cedar",
            "permit (principal, action in Action::\"TO_RECORD\", resource);",
            "permit (principal in Role::\"super_admin\", action in Action::\"TO_RECORD\", resource);",
        ),
    ]
}

fn guidance() -> Vec<Mistake> {
    const FILE: &str = "guidance/es-US.toml";
    vec![
        edit("a key is misspelt in the guidance", FILE, "tell_agent = \"Pida", "tell_agnt = \"Pida"),
        edit("a reason is misspelt", FILE, "[default.NOT_VERIFIED]", "[default.NOT_VERIFYED]"),
        edit(
            "a text is missing",
            FILE,
            "say = \"Para esta solicitud necesito verificar su identidad una vez más.\"\n",
            "",
        ),
        edit(
            "a whole reason is missing",
            FILE,
            "[default.ESCALATED]\ncode = \"escalated\"\nsay = \"Su rol no incluye esto. He consultado a su administrador principal, quien puede aprobarlo en el portal.\"\ntell_agent = \"No haga nada hasta que el administrador principal lo apruebe. No hace falta explicar quién es.\"\nlink = \"https://portal.example.com/approvals\"\n",
            "",
        ),
        edit(
            "a text is empty",
            FILE,
            "say = \"Para esta solicitud necesito verificar su identidad una vez más.\"",
            "say = \" \"",
        ),
        edit(
            "guidance for an action that is not there",
            FILE,
            "[actions.\"order.place\"]",
            "[actions.\"order.palce\"]",
        ),
        edit("other words under the common code", FILE, "code = \"roles-not-by-phone\"\n", ""),
        edit("one code for two texts", FILE, "code = \"roles-not-by-phone\"", "code = \"address-not-by-phone\""),
        edit("a code of its own in one locale", FILE, "code = \"roles-not-by-phone\"", "code = \"roles-en-el-portal\""),
        edit(
            "nothing is said of a remedy",
            FILE,
            "[remedies.\"call_detail.call_number_of_record\"]\nsay = \"Puedo llamarle a su número registrado.\"\n",
            "",
        ),
        Mistake {
            name: "a file is saved in Latin-1",
            make: Box::new(|folder| fs::write(folder.join(FILE), b"# espa\xf1ol\n").unwrap()),
        },
    ]
}

fn notices() -> Vec<Mistake> {
    const FILE: &str = "notices/es-US.toml";
    vec![
        edit("a kind of notice is misspelt", FILE, "[number_changed]", "[number_chaned]"),
        edit(
            "nothing is said of a kind of notice",
            FILE,
            "[reset_started]\nsubject = \"Alguien empezó a restablecer su frase de soporte\"\nbody = \"Alguien empezó a restablecer su frase de soporte en la cuenta {account}, {count} vez/veces desde el {time}. Nada cambió por ello. Si no lo esperaba, entre al portal por su vía habitual y revise.\"\n",
            "",
        ),
        edit(
            "a notice would tell what nothing fills",
            FILE,
            "registrados de la cuenta {account}",
            "{old} de {account}",
        ),
        edit("a notice has no subject", FILE, "subject = \"Se otorgaron privilegios\"", "subject = \" \""),
        without("the default locale has no notices", "notices/en-US.toml"),
    ]
}

fn without(name: &'static str, file: &'static str) -> Mistake {
    Mistake { name, make: Box::new(move |folder| fs::remove_file(folder.join(file)).unwrap()) }
}

fn append(name: &'static str, file: &'static str, text: &'static str) -> Mistake {
    let make = move |folder: &Path| {
        let path = folder.join(file);
        let before = fs::read_to_string(&path).unwrap_or_default();
        fs::write(path, before + text).unwrap();
    };
    Mistake { name, make: Box::new(make) }
}

fn edit(name: &'static str, file: &'static str, from: &'static str, to: &'static str) -> Mistake {
    let make = move |folder: &Path| {
        let path = folder.join(file);
        let before = fs::read_to_string(&path).unwrap();
        assert!(before.contains(from), "{file} has no {from:?}");
        fs::write(path, before.replacen(from, to, 1)).unwrap();
    };
    Mistake { name, make: Box::new(make) }
}
